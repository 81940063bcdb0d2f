"""One COPY of whole batches, with their idempotency keys."""

import asyncio
from collections.abc import Callable, Sequence

import psycopg

from storage.writing.claims import COPY_CLAIMS, encode_claims
from storage.writing.copier import Copier
from storage.writing.row_encoding import EncodedBatch, copy_data
from storage.writing.row_form import RowForm


async def copy_batches(
    copier: Copier,
    form: RowForm,
    batches: Sequence[EncodedBatch],
    note_transaction: Callable[[int], None] | None = None,
) -> None:
    """Store batches of a form in one transaction, whose id `note_transaction` gets before anything is sent.

    Raises psycopg.Error as `Copier.begin` says, and what `note_transaction` raises.
    """
    claims = [batch.claim for batch in batches if batch.claim is not None]
    statement = f"{form.copy_statement}; {COPY_CLAIMS}" if claims else form.copy_statement
    ended: asyncio.Future[psycopg.Error | None] = asyncio.get_running_loop().create_future()

    def fill() -> None:
        try:
            if note_transaction is not None:
                note_transaction(copier.transaction_id)
        except Exception as error:
            # Otherwise the caller would wait for ever.
            copier.close()
            ended.set_exception(error)
            return
        copier.add(copy_data(batch.data for batch in batches))
        copier.end(copy_data([encode_claims(claims)]) if claims else None)

    def end(error: psycopg.Error | None) -> None:
        if not ended.done():  # it is when this was cancelled
            ended.set_result(error)

    copier.begin(statement, fill, end)
    try:
        error = await ended
    except asyncio.CancelledError:
        copier.close()
        raise
    if error is not None:
        raise error
