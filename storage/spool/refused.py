"""Spooled batches that Postgres refused although they had been acknowledged."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from storage.spool.file import SpoolFile
from storage.writing.row_form import RowForm

_LIST = """
SELECT position, refused_at, spooled_at, reason, row_count, data, definition
  FROM refused JOIN forms ON forms.id = form ORDER BY position
"""
_CLAIM = "SELECT claim, claim_body FROM refused WHERE position = ?"
_WAITING = "SELECT claim_body FROM batches WHERE claim = ?"
_RETRY = """
INSERT INTO batches (spooled_at, row_count, data, claim, claim_body, form)
SELECT ?, row_count, data, claim, claim_body, form FROM refused WHERE position = ?
"""
_DISCARD = "DELETE FROM refused WHERE position = ?"


@dataclass(frozen=True, slots=True)
class RefusedBatch:
    """A batch that was refused. `spooled_at` is None where servers of an earlier version did not note it."""

    position: int
    refused_at: datetime
    spooled_at: datetime | None
    reason: str
    rows: int
    data: bytes
    form: RowForm


class Retry(StrEnum):
    """The outcome of retrying a refused batch."""

    SPOOLED = "spooled"  # it waits for the database again
    REPEATED = "repeated"  # the same batch waits already, by its idempotency key; this one is dropped
    KEY_REUSED = "key reused"  # its idempotency key is another waiting batch's; it stays refused
    GONE = "gone"  # it is not there any more


def list_refused(file: SpoolFile) -> list[RefusedBatch]:
    """Return the refused batches of a spool. Raises SpoolError."""
    return [
        RefusedBatch(position, _moment(refused), _moment(spooled) if spooled else None, reason, rows, data, form)
        for position, refused, spooled, reason, rows, data, definition in file.read(_LIST)
        for form in [RowForm.parse(definition)]
    ]


def retry_refused(file: SpoolFile, position: int) -> Retry:
    """Put a refused batch at the spool's end, as it was. Raises SpoolError."""
    with file.transaction() as connection:
        found = connection.execute(_CLAIM, (position,)).fetchone()
        if found is None:
            return Retry.GONE
        claim, body = found
        waiting = connection.execute(_WAITING, (claim,)).fetchone()
        if waiting is not None and waiting[0] != body:
            return Retry.KEY_REUSED
        if waiting is None:
            connection.execute(_RETRY, (time.time(), position))
        connection.execute(_DISCARD, (position,))
        return Retry.SPOOLED if waiting is None else Retry.REPEATED


def discard_refused(file: SpoolFile, position: int) -> bool:
    """Delete a refused batch; tell whether there was one. Raises SpoolError."""
    with file.transaction() as connection:
        return connection.execute(_DISCARD, (position,)).rowcount > 0


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
