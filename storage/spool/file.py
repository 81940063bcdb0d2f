"""The file of a spool: SQLite in WAL mode with `synchronous=FULL`, and disk space reserved for draining it.

What a transaction wrote survives a crash of the process and of the machine. Several processes may use a file.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.errors import SpoolError
from storage.spool import schema
from storage.spool.disk_reserve import DiskReserve

FILE = "spool.sqlite3"
RESERVE_FILE = "spool.reserve"
RESERVE_BYTES = 2**23  # more than it takes to remove a lot of batches
PROBE_FILE = "spool.probe"
BUSY_TIMEOUT_S = 10.0

# A few at a time, since they are written elsewhere first. Only a script is stepped to its end when there are no rows.
_FREE_PAGES = "PRAGMA incremental_vacuum(1000); PRAGMA wal_checkpoint(TRUNCATE);"
_WRITE_NOTHING = "UPDATE totals SET batches = batches"


class SpoolFile:
    """A spool's file, opened. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        """Open the file in a folder, and make both when there are none. Raises SpoolError."""
        self._path = folder / FILE
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self.reserve = DiskReserve(folder / RESERVE_FILE, RESERVE_BYTES)
        self._probe = folder / PROBE_FILE
        self._open()

    @property
    def folder(self) -> Path:
        """The folder that it is in."""
        return self._path.parent

    @property
    def is_in_place(self) -> bool:
        """Tell whether the file that was opened is still the one that others open: neither deleted nor replaced."""
        try:
            return self._inode == _inode_of(self._path)
        except OSError:
            return False

    def read(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Return rows; never waits for a writer. Raises SpoolError."""
        try:
            with self._reading:
                return self._reader.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self._path} cannot be read: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose changes are all durable at the end, or none is. Raises SpoolError."""
        try:
            with self._writing:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self._path} cannot be written: {error}") from error

    def write_anyway(self, write: "Callable[[sqlite3.Connection], object]") -> None:
        """Write what frees space in the end, using the reserved disk space when there is no other."""
        try:
            with self.transaction() as connection:
                write(connection)
        except SpoolError:
            if not self.reserve.give_up():
                raise
            with self.transaction() as connection:
                write(connection)

    def check_writable(self) -> None:
        """Write durably, but nothing. Raises SpoolError."""
        with self.transaction() as connection:
            connection.execute(_WRITE_NOTHING)

    def has_disk_room(self, size: int) -> bool:
        """Tell whether the disk has room for `size` bytes beside the reserve, by taking and returning them."""
        if not self.reserve.is_kept():
            return False
        probe = DiskReserve(self._probe, size)
        has_room = probe.is_kept()
        probe.give_up()
        return has_room

    def shrink(self) -> None:
        """Give the disk back what is not used any more. Raises SpoolError."""
        try:
            with self._writing:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                while self._writer.execute("PRAGMA freelist_count").fetchone()[0]:
                    self._writer.executescript(_FREE_PAGES)
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self._path} cannot be shrunk: {error}") from error
        self.reserve.is_kept()

    def reopen(self) -> None:
        """Use the file that is in place now. Raises SpoolError."""
        with self._writing, self._reading:
            self._close()
            self._open()

    def close(self) -> None:
        """Close the file."""
        with self._writing, self._reading:
            self._close()

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            self._path.chmod(0o600)
            schema.prepare(self._writer)
            self._reader = self._connect()
            self._inode = _inode_of(self._path)
        except (OSError, sqlite3.Error, SpoolError) as error:
            raise SpoolError(f"the spool {self._path} cannot be used: {error}") from error

    def _close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _inode_of(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
