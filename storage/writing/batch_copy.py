"""One COPY of whole batches, with their idempotency keys."""

import asyncio
from collections.abc import Callable, Sequence

import psycopg

from storage.writing.claims import encode_claims
from storage.writing.copier import Copier
from storage.writing.destination import Database, Target
from storage.writing.row_encoding import EncodedBatch, copy_data, project_of


async def copy_batches(
    copier: Copier,
    database: Database,
    batches: Sequence[EncodedBatch],
    note_transaction: Callable[[int], None] | None = None,
) -> None:
    """Store batches, at least one, in one transaction, whose id `note_transaction` gets before anything is sent.

    Raises psycopg.Error as `Copier.begin` says, and what `note_transaction` raises.
    """
    by_target: dict[Target, list[EncodedBatch]] = {}
    for batch in batches:
        by_target.setdefault(database.target_of(batch), []).append(batch)
    rows = [copy_data(batch.data for batch in of_target) for of_target in by_target.values()]
    claims = {
        target: copy_data([encode_claims((batch.claim, project_of(batch)) for batch in of_target if batch.claim)])
        for target, of_target in by_target.items()
        if any(batch.claim for batch in of_target)
    }
    await _copy(copier, database.statement(list(by_target), list(claims)), [*rows, *claims.values()], note_transaction)


async def copy_nothing(copier: Copier, database: Database, target: Target) -> None:
    """Try whether rows could be stored. Raises psycopg.Error."""
    await _copy(copier, database.statement([target]), [copy_data([])], None)


async def _copy(
    copier: Copier, statement: str, copies: Sequence[bytes], note_transaction: Callable[[int], None] | None
) -> None:
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
        copier.add(copies[0])
        copier.end(copies[1:])

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
