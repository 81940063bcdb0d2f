"""The spool: batches that wait on the local disk while Postgres is down.

A batch that `append` has stored survives a crash of the process and of the machine, a restart, and an upgrade (see
file.py). Several processes append; one drains (see drain.py).
"""

import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from storage.errors import SpoolError, SpoolFullError, SpoolOwnerError
from storage.spool.file import SpoolFile
from storage.writing.claims import Claim
from storage.writing.row_encoding import EncodedBatch
from storage.writing.row_form import RowForm

_logger = logging.getLogger(__name__)

_USED = "SELECT bytes FROM totals"
_ADD_FORM = "INSERT OR IGNORE INTO forms (definition) VALUES (?)"
_APPEND = """
INSERT INTO batches (spooled_at, row_count, data, claim, claim_body, form)
VALUES (?, ?, ?, ?, ?, (SELECT id FROM forms WHERE definition = ?))
"""
_CLAIM_BODY = "SELECT claim_body FROM batches WHERE claim = ?"
_SIZES = "SELECT position, length(data), form FROM batches WHERE position > ? ORDER BY position LIMIT ?"
_BATCHES = """
SELECT position, coalesce(backend_pid, 0), coalesce(transaction_id, 0), definition, row_count, data, claim, claim_body
  FROM batches JOIN forms ON forms.id = form LEFT JOIN doubts USING (position)
 WHERE position > ? AND position <= ? ORDER BY position
"""
_MARK = "INSERT OR REPLACE INTO doubts (position, backend_pid, transaction_id) VALUES (?, 0, ?)"
_REMOVE = "DELETE FROM batches WHERE position = ?"
_NOTE_PROGRESS = "UPDATE totals SET drained_at = ?"
_REFUSE = """
INSERT INTO refused (position, refused_at, reason, row_count, data, spooled_at, claim, claim_body, form)
SELECT position, ?, ?, row_count, data, spooled_at, claim, claim_body, form FROM batches WHERE position = ?
"""
_STATUS = """
SELECT batches, row_count, bytes, (SELECT spooled_at FROM batches ORDER BY position LIMIT 1),
       (SELECT count(*) FROM refused), drained_at FROM totals
"""
_OWNER = "SELECT database_id, location, used_at FROM owner"
# The owner, once it is known, does not change.
_ADOPT = """
INSERT INTO owner (id, database_id, location, used_at) VALUES (1, :database_id, :location, :now)
    ON CONFLICT (id) DO UPDATE SET database_id = :database_id, location = :location, used_at = :now
    WHERE database_id = :database_id OR (database_id IS NULL AND location = :location)
"""


@dataclass(frozen=True, slots=True)
class SpooledBatch:
    """A batch in the spool, and what may have stored it already, 0 for nothing.

    That is a transaction; servers whose spool had version 1 noted the process id of the backend only.
    """

    position: int
    backend_pid: int
    transaction_id: int
    batch: EncodedBatch


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What is in the spool. `refused` batches need a person to look at them. Ages are 0 when no batch waits.

    `stalled_s` is for how long batches have waited without any of them being stored or refused.
    """

    batches: int
    rows: int
    size_bytes: int
    oldest_age_s: float
    stalled_s: float
    refused: int


@dataclass(frozen=True, slots=True)
class Owner:
    """The database that a spool belongs to. The id is None as long as the one at `location` was never reached."""

    database_id: UUID | None
    location: str
    used_at: float

    def __str__(self) -> str:
        return f"database {self.database_id or 'not reached yet'}, last used at {self.location}"


class Spool:
    """A spool. Any thread may use it; reading never waits for a writer."""

    LOT_BATCHES = 1_000
    ROOM_BYTES = 2**18  # a spool with less room than this counts as full

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Open the spool in a folder, and make it when there is none. Raises SpoolError."""
        self.file = SpoolFile(folder)
        self._max_bytes = max_bytes
        self._has_failed = False  # whether the last batches could not be written

    @property
    def folder(self) -> Path:
        """The folder that it is in."""
        return self.file.folder

    def append(self, batches: Sequence[EncodedBatch], *, transaction_id: int = 0) -> list[int]:
        """Store batches, all or none; when this returns they are durable. Repeated ones are stored once.

        `transaction_id` is that of a transaction that may have stored them in Postgres, 0 for none.
        Returns the positions of those that are not stored: their idempotency keys are there with another body.
        Raises SpoolFullError when there is no room for them, SpoolError when they cannot be written.
        """
        try:
            reused = self._append(batches, transaction_id)
        except SpoolError:
            self._has_failed = True
            raise
        self._has_failed = False
        return reused

    def _append(self, batches: Sequence[EncodedBatch], transaction_id: int) -> list[int]:
        now = time.time()
        self._use_file_in_place()
        if not self.file.reserve.is_kept():
            raise SpoolFullError(f"there is no room on the disk of the spool in {self.folder}")
        with self.file.transaction() as connection:
            (used,) = connection.execute(_USED).fetchone()
            if used + sum(len(batch.data) for batch in batches) > self._max_bytes:
                raise SpoolFullError(f"the spool in {self.folder} is full")
            connection.executemany(_ADD_FORM, {(batch.form.definition,) for batch in batches})
            return [
                position
                for position, batch in enumerate(batches)
                if not _append(connection, batch, transaction_id, now)
            ]

    def _use_file_in_place(self) -> None:
        """Open the file again when it was deleted or replaced: what is added to the old one would be lost."""
        if not self.file.is_in_place:
            self.file.reopen()

    def has_room(self) -> bool:
        """Try whether an ordinary batch could be kept now. This writes: not for an event loop."""
        try:
            self._use_file_in_place()
            ((used,),) = self.file.read(_USED)
            if used + self.ROOM_BYTES > self._max_bytes or not self.file.has_disk_room(self.ROOM_BYTES):
                return False
            if self._has_failed:
                self.file.check_writable()
                self._has_failed = False
        except SpoolError:
            return False
        return True

    def check_in_place(self) -> None:
        """Raise SpoolError when its file was deleted or replaced, so that others do not use it any more."""
        if not self.file.is_in_place:
            raise SpoolError(f"the spool in {self.folder} was deleted or replaced")

    def oldest(self, max_bytes: int, after: int = 0) -> list[SpooledBatch]:
        """Return the batches that have been here longest, up to `max_bytes` of them, at least one if there is any.

        Those up to the position `after` are left out.
        All are of one form, so that one COPY takes them. Raises SpoolError.
        """
        last, size, form = 0, 0, 0
        for position, length, its_form in self.file.read(_SIZES, (after, self.LOT_BATCHES)):
            size += length
            if last and (size > max_bytes or its_form != form):
                break
            last, form = position, its_form
        return [_batch_of(row) for row in self.file.read(_BATCHES, (after, last))]

    def mark(self, batches: Iterable[SpooledBatch], transaction_id: int) -> None:
        """Note durably that a transaction may store these batches from now on."""
        marks = [(batch.position, transaction_id) for batch in batches]
        self.file.write_anyway(lambda connection: connection.executemany(_MARK, marks))

    def remove(self, batches: Iterable[SpooledBatch]) -> None:
        """Forget batches, which Postgres has."""
        positions = [(batch.position,) for batch in batches]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_REMOVE, positions)
            connection.execute(_NOTE_PROGRESS, (time.time(),))

        if positions:
            self.file.write_anyway(write)

    def refuse(self, batch: SpooledBatch, reason: str) -> None:
        """Set a batch aside that Postgres refused (see refused.py)."""
        with self.file.transaction() as connection:
            now = time.time()
            connection.execute(_REFUSE, (now, reason, batch.position))
            connection.execute(_REMOVE, (batch.position,))
            connection.execute(_NOTE_PROGRESS, (now,))

    def shrink(self) -> None:
        """Give the disk back what is not used any more. Raises SpoolError."""
        self.file.shrink()

    def status(self) -> SpoolStatus:
        """Return what is in the spool. Raises SpoolError."""
        ((batches, rows, size, oldest, refused, drained_at),) = self.file.read(_STATUS)
        now = time.time()
        age_s, stalled_s = (max(0.0, now - oldest), max(0.0, now - max(oldest, drained_at))) if oldest else (0.0, 0.0)
        return SpoolStatus(batches, rows, size, age_s, stalled_s, refused)

    def owner(self) -> Owner | None:
        """Return its owner; None before it was first used with a database that has an identity. Raises SpoolError."""
        rows = self.file.read(_OWNER)
        if not rows:
            return None
        database_id, location, used_at = rows[0]
        return Owner(UUID(database_id) if database_id else None, location, used_at)

    def require_owner(self, database_id: UUID, location: str) -> None:
        """Raise SpoolOwnerError unless it belongs to the database that was reached at `location`.

        A spool that never knew its database becomes this one's. Raises SpoolError when the file cannot be used.
        """
        owner = self.owner()
        if (owner is None or owner.database_id is None) and self.adopt(database_id, location):
            _logger.warning(
                "the spool in %s is for the database at %s, which is %s", self.folder, location, database_id
            )
            return
        if owner is None or owner.database_id != database_id:
            raise SpoolOwnerError(
                f"the spool in {self.folder} belongs to another database ({owner}) than {location}, which is "
                f"{database_id} now; started again, the server uses a spool of this database's own"
            )

    def adopt(self, database_id: UUID | None, location: str) -> bool:
        """Make it the spool of a database, unless it belongs to another one; tell whether it belongs to this one now.

        Without an id it becomes the spool of whatever database is first reached at `location`. Raises SpoolError.
        """
        values = {"database_id": str(database_id) if database_id else None, "location": location, "now": time.time()}
        with self.file.transaction() as connection:
            connection.execute(_ADOPT, values)
        owner = self.owner()
        return owner is not None and (owner.database_id, owner.location) == (database_id, location)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _append(connection: sqlite3.Connection, batch: EncodedBatch, transaction_id: int, now: float) -> bool:
    """Store a batch unless it is there; return False when its idempotency key is there with another body."""
    if batch.claim is not None:
        found = connection.execute(_CLAIM_BODY, (batch.claim.id,)).fetchone()
        if found is not None:
            return bool(found[0] == batch.claim.body)
    values = (now, batch.rows, batch.data, *(batch.claim or (None, None)), batch.form.definition)
    position = connection.execute(_APPEND, values).lastrowid
    if transaction_id:
        connection.execute(_MARK, (position, transaction_id))
    return True


def _batch_of(row: tuple[Any, ...]) -> SpooledBatch:
    """Return a row of _BATCHES."""
    position, backend_pid, transaction_id, definition, rows, data, *claim = row
    batch = EncodedBatch(rows, data, Claim(*claim) if claim[0] else None, RowForm.parse(definition))
    return SpooledBatch(position, backend_pid, transaction_id, batch)
