"""Where a writer stores: which tables take a batch, and the statement that fills them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from storage.writing.claims import CLAIMS_TABLE, COPY_CLAIMS
from storage.writing.row_encoding import EncodedBatch
from storage.writing.row_form import RowForm


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The tables of a batch's rows and of its idempotency key. There is one object for each."""

    form: RowForm
    claims_table: str = CLAIMS_TABLE
    shard: int = 0


class Database:
    """A Postgres whose tables are whole."""

    # What is added to numbers of transactions, so that those of several nodes differ.
    transaction_base = 0

    def __init__(self, url: str) -> None:
        self.url = url

    def target_of(self, batch: EncodedBatch) -> Target:
        """Return the target of a batch."""
        return _target_of(batch.form)

    def statement(self, targets: Sequence[Target], with_claims: Sequence[Target] = ()) -> str:
        """Return a COPY for each target, and then one for the idempotency keys of each target `with_claims`."""
        rows = [target.form.copy_statement for target in targets]
        return "; ".join([*rows, *(COPY_CLAIMS.format(table=target.claims_table) for target in with_claims)])


@lru_cache(64)
def _target_of(form: RowForm) -> Target:
    return Target(form)
