"""A lock under which batches are taken but cannot be stored, so that requests hang."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.process.polling import wait_until

_LOCK = "LOCK TABLE http_request_rows IN ACCESS EXCLUSIVE MODE"
_WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'http_request_rows'::regclass AND NOT granted"


class TableLock:
    """An exclusive lock on `http_requests`."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        connection.execute(_LOCK)

    def wait_for_writers(self, count: int = 1) -> None:
        """Wait until `count` connections are held up by the lock."""
        wait_until(lambda: self._waiting() >= count, f"{count} writers wait for the table")

    def release(self) -> None:
        """Let everybody go on."""
        self._connection.rollback()

    def _waiting(self) -> int:
        row = self._connection.execute(_WAITING).fetchone()
        return row[0] if row else 0


@contextmanager
def lock_table(database_url: str) -> Iterator[TableLock]:
    """Hold the lock until it is released, at the latest at the end."""
    with psycopg.connect(database_url) as connection:
        lock = TableLock(connection)
        try:
            yield lock
        finally:
            lock.release()
