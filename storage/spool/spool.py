"""The spool: batches that wait on the local disk while Postgres is away.

An SQLite file in WAL mode with `synchronous=FULL`: what `append` has returned for survives a crash of the process and
of the machine, a restart, and an upgrade. Several processes append; one drains (see drain.py).
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import SpoolError, SpoolFullError
from storage.spool import schema
from storage.spool.disk_reserve import DiskReserve
from storage.writing.claims import Claim
from storage.writing.row_encoding import EncodedBatch
from storage.writing.row_form import RowForm

FILE = "spool.sqlite3"
RESERVE_FILE = "spool.reserve"
RESERVE_BYTES = 2**23  # more than it takes to remove a lot of batches
BUSY_TIMEOUT_S = 10.0

# A few at a time, since they are written elsewhere first. Only a script is stepped to its end when there are no rows.
_FREE_PAGES = "PRAGMA incremental_vacuum(1000); PRAGMA wal_checkpoint(TRUNCATE);"
_ADD_FORM = "INSERT OR IGNORE INTO forms (definition) VALUES (?)"
_APPEND = """
INSERT INTO batches (spooled_at, row_count, data, claim, claim_body, form)
VALUES (?, ?, ?, ?, ?, (SELECT id FROM forms WHERE definition = ?))
"""
_CLAIM_BODY = "SELECT claim_body FROM batches WHERE claim = ?"
_SIZES = "SELECT position, length(data), form FROM batches ORDER BY position LIMIT ?"
_BATCHES = """
SELECT position, coalesce(backend_pid, 0), coalesce(transaction_id, 0), definition, row_count, data, claim, claim_body
  FROM batches JOIN forms ON forms.id = form LEFT JOIN doubts USING (position) WHERE position <= ? ORDER BY position
"""
_MARK = "INSERT OR REPLACE INTO doubts (position, backend_pid, transaction_id) VALUES (?, ?, 0)"
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
    is_full: bool


class Spool:
    """A spool file. Any thread may write; `status` is asked on one thread, and never waits for a writer."""

    LOT_BATCHES = 1_000
    ROOM_BYTES = 2**18  # a spool with less room than this counts as full

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Open the spool of a data folder, and make it when there is none. Raises SpoolError."""
        self._path = folder / FILE
        self._max_bytes = max_bytes
        self._writing = threading.Lock()
        self._reserve = DiskReserve(folder / RESERVE_FILE, RESERVE_BYTES)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
            self._path.chmod(0o600)
            schema.prepare(self._connection)
            self._reader = self._connect()
        except (OSError, sqlite3.Error, SpoolError) as error:
            raise SpoolError(f"the spool {self._path} cannot be used: {error}") from error

    def append(self, batches: Sequence[EncodedBatch], *, in_doubt: int = 0) -> list[int]:
        """Store batches, all or none; when this returns they are durable. Repeated ones are stored once.

        Returns the positions of those that are not stored: their idempotency keys are there with another body.
        Raises SpoolFullError when there is no room for them, SpoolError when they cannot be written.
        """
        now = time.time()
        if not self._reserve.is_kept():
            raise SpoolFullError(f"there is no room on the disk of the spool {self._path}")
        with self._transaction() as connection:
            (used,) = connection.execute("SELECT bytes FROM totals").fetchone()
            if used + sum(len(batch.data) for batch in batches) > self._max_bytes:
                raise SpoolFullError(f"the spool {self._path} is full")
            connection.executemany(_ADD_FORM, {(batch.form.definition,) for batch in batches})
            return [position for position, batch in enumerate(batches) if not _append(connection, batch, in_doubt, now)]

    def oldest(self, max_bytes: int) -> list[SpooledBatch]:
        """Return the batches that have been here longest, up to `max_bytes` of them, at least one if there is any.

        All are of one form, so that one COPY takes them. Raises SpoolError.
        """
        try:
            last, size, form = 0, 0, 0
            for position, length, its_form in self._connection.execute(_SIZES, (self.LOT_BATCHES,)).fetchall():
                size += length
                if last and (size > max_bytes or its_form != form):
                    break
                last, form = position, its_form
            rows = self._connection.execute(_BATCHES, (last,)).fetchall()
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self._path} cannot be read: {error}") from error
        return [_batch_of(row) for row in rows]

    def mark(self, batches: Iterable[SpooledBatch], backend_pid: int) -> None:
        """Note durably that a backend may store these batches from now on."""
        marks = [(batch.position, backend_pid) for batch in batches]
        self._write_anyway(lambda connection: connection.executemany(_MARK, marks))

    def remove(self, batches: Iterable[SpooledBatch]) -> None:
        """Forget batches, which Postgres has."""
        positions = [(batch.position,) for batch in batches]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_REMOVE, positions)
            if positions:
                connection.execute(_NOTE_PROGRESS, (time.time(),))

        self._write_anyway(write)

    def refuse(self, batch: SpooledBatch, reason: str) -> None:
        """Put a batch that Postgres refused aside."""
        with self._transaction() as connection:
            now = time.time()
            connection.execute(_REFUSE, (now, reason, batch.position))
            connection.execute(_REMOVE, (batch.position,))
            connection.execute(_NOTE_PROGRESS, (now,))

    def shrink(self) -> None:
        """Give the disk back what is not used any more."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            while self._connection.execute("PRAGMA freelist_count").fetchone()[0]:
                self._connection.executescript(_FREE_PAGES)
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self._path} cannot be shrunk: {error}") from error
        self._reserve.is_kept()

    def status(self) -> SpoolStatus:
        """Return what is in the spool. Raises SpoolError."""
        try:
            batches, rows, size, oldest, refused, drained_at = self._reader.execute(_STATUS).fetchone()
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self._path} cannot be read: {error}") from error
        now = time.time()
        age_s, stalled_s = (max(0.0, now - oldest), max(0.0, now - max(oldest, drained_at))) if oldest else (0.0, 0.0)
        is_full = size + self.ROOM_BYTES > self._max_bytes or not self._reserve.is_kept()
        return SpoolStatus(batches, rows, size, age_s, stalled_s, refused, is_full)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._connection.close()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    def _write_anyway(self, write: Callable[[sqlite3.Connection], object]) -> None:
        """Write what makes room in the end, with the disk space that is reserved for it when there is no other."""
        try:
            with self._transaction() as connection:
                write(connection)
        except SpoolError:
            if not self._reserve.give_up():
                raise
            with self._transaction() as connection:
                write(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._writing:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self._path} cannot be written: {error}") from error


def _append(connection: sqlite3.Connection, batch: EncodedBatch, in_doubt: int, now: float) -> bool:
    """Store a batch unless it is there; return False when its idempotency key is there with another body."""
    if batch.claim is not None:
        found = connection.execute(_CLAIM_BODY, (batch.claim.id,)).fetchone()
        if found is not None:
            return bool(found[0] == batch.claim.body)
    values = (now, batch.rows, batch.data, *(batch.claim or (None, None)), batch.form.definition)
    position = connection.execute(_APPEND, values).lastrowid
    if in_doubt:
        connection.execute(_MARK, (position, in_doubt))
    return True


def _batch_of(row: tuple[Any, ...]) -> SpooledBatch:
    """Return a row of _BATCHES."""
    position, backend_pid, transaction_id, definition, rows, data, *claim = row
    batch = EncodedBatch(rows, data, Claim(*claim) if claim[0] else None, RowForm.parse(definition))
    return SpooledBatch(position, backend_pid, transaction_id, batch)
