"""A lock under which batches are taken but cannot be stored, so that requests hang."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg import sql

from storage.database import connect
from storage.distribution.catalogue import ROWS, is_distributed, read_placement
from tests.process.polling import wait_until

_LOCK = "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE"
_WAITING = "SELECT count(*) FROM pg_locks WHERE relation = ANY(%s::regclass[]) AND NOT granted"

_OF_PARTS = "-c citus.enable_manual_changes_to_shards=on"  # which means nothing to a Postgres without Citus


class TableLock:
    """An exclusive lock on the rows: on a table, or on its parts on each node where Citus distributes them."""

    def __init__(self, tables: Sequence[tuple[psycopg.Connection, list[str]]]) -> None:
        """`tables` are those that hold rows, with a connection to where they are."""
        self._tables = tables
        for connection, names in tables:
            connection.execute(sql.SQL(_LOCK).format(sql.SQL(", ").join(map(sql.Identifier, names))))

    def wait_for_writers(self, count: int = 1) -> None:
        """Wait until `count` connections are held up by the lock."""
        wait_until(lambda: self._waiting() >= count, f"{count} writers wait for the table")

    def release(self) -> None:
        """Let everybody go on."""
        for connection, _ in self._tables:
            connection.rollback()

    def _waiting(self) -> int:
        rows = (connection.execute(_WAITING, (names,)).fetchone() for connection, names in self._tables)
        return sum(row[0] for row in rows if row)


@contextmanager
def lock_table(database_url: str) -> Iterator[TableLock]:
    """Hold the lock until it is released, at the latest at the end."""
    with ExitStack() as stack:
        lock = TableLock(
            [
                (stack.enter_context(psycopg.connect(url, options=_OF_PARTS)), names)
                for url, names in _tables_of(database_url)
            ]
        )
        try:
            yield lock
        finally:
            lock.release()


def _tables_of(url: str) -> list[tuple[str, list[str]]]:
    with connect(url) as connection:
        if not is_distributed(connection):
            return [(url, [ROWS])]
        nodes = read_placement(connection).nodes
    return [(node.url(url), [shard.table(ROWS) for shard in shards]) for node, shards in nodes.items()]
