"""Work on single shards: what is written for tables as a whole is done on a shard's parts of them, on its node.

A part is a table of its own there, with all that Postgres can do; Citus' planner has no share in it. What a shard is
must not change meanwhile, so a transaction that writes holds the shard (`hold_shards` in distribute.sql).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, Self

import psycopg
from psycopg import sql

from storage.distribution.catalogue import ROWS, Node, Placement, Shard
from storage.rollups.state import count_on

_NUMBER: Final = re.compile(r"_\d+$")
# SQLSTATEs of `hold_shards`: it says no, or nothing was ever made ready on the node.
NOT_HERE: Final = ("SM001", "42P01")
_NAMES: Final = re.compile(r"\b(readable_rows|http_request_rows\w*|idempotency_keys|rollup_[a-z]+)\b")
# Indexes have the number of their table.
_INDEXES: Final = {
    "http_request_rows_project_timestamp": "http_request_rows",
    "http_request_rows_trace": "http_request_rows",
    "http_request_rows_transaction": "http_request_rows",
}
# Once all rows of earlier versions are moved, as they are in a distributed database, they are the same.
_SAME: Final = {"readable_rows": "http_request_rows"}

# Citus hides shards from whoever asks pg_class.
_ALLOW = "SET citus.enable_manual_changes_to_shards = on; SET citus.show_shards_for_app_name_prefixes = '*'"
_HOLD = "SELECT hold_shards(%s)"
_MAKE_READY_TABLE = """
SET LOCAL citus.enable_ddl_propagation = off;
CREATE TABLE IF NOT EXISTS ready_shards (part oid PRIMARY KEY)
"""
_LOCK_READY = "SELECT pg_advisory_xact_lock(7220419007)"
_READY = "SELECT EXISTS (SELECT FROM ready_shards WHERE part = to_regclass(%s))"
_NOTE_READY = """
INSERT INTO ready_shards SELECT part FROM to_regclass(%s) AS part WHERE part IS NOT NULL ON CONFLICT DO NOTHING
"""
_HAS_READY_TABLE = "SELECT to_regclass('ready_shards') IS NOT NULL"


@lru_cache(1024)
def statement_of(shard: Shard, statement: str) -> str:
    """Return a statement about tables as one about a shard's parts of them."""
    return _NAMES.sub(lambda match: _part_of(shard, match[0]), statement)


def _part_of(shard: Shard, name: str) -> str:
    name = _SAME.get(name, name)
    if name in _INDEXES:
        return f"{name}_{shard.numbers[_INDEXES[name]]}"
    return shard.table(name) if name in shard.numbers else name


class ShardCursor(psycopg.Cursor[Any]):
    """A cursor whose statements are about the shard of its connection."""

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Self:
        """Execute a statement on the shard."""
        return super().execute(self._of_shard(query), *arguments, **options)

    def copy(self, statement: Any, *arguments: Any, **options: Any) -> Any:
        """Copy from or to the shard."""
        return super().copy(self._of_shard(statement), *arguments, **options)

    def _of_shard(self, query: Any) -> Any:
        connection = self.connection
        if not isinstance(connection, ShardConnection) or connection.shard is None:
            return query
        text = query.as_string(connection) if isinstance(query, sql.Composable) else query
        text = text.decode() if isinstance(text, bytes) else text
        return statement_of(connection.shard, text).encode()


class ShardConnection(psycopg.Connection[Any]):
    """A connection to a node, whose statements are about `shard`, and whose transactions hold it there."""

    shard: Shard | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = ShardCursor

    @contextmanager
    def transaction(self, *arguments: Any, **options: Any) -> Iterator[psycopg.Transaction]:
        """Run a transaction that holds the shard. Raises psycopg.Error, of an SQLSTATE of NOT_HERE if it is gone."""
        with super().transaction(*arguments, **options) as transaction:
            if self.shard is not None:
                self.execute(_HOLD, ([self.shard.number],))
            yield transaction


def table_of(connection: psycopg.Connection, part: str) -> str:
    """Return the name of the table that has a part of that name, as the connection sees it."""
    return _NUMBER.sub("", part) if isinstance(connection, ShardConnection) else part


def shards_on(connection: ShardConnection, placement: Placement, node: Node) -> Iterator[Shard]:
    """Yield the shards of a node, one after the other, each with the connection to the node set to it."""
    connection.execute(_ALLOW)
    for shard in placement.nodes.get(node, ()):
        connection.shard = shard
        try:
            yield shard
        finally:
            connection.shard = None


def make_ready(connection: ShardConnection, placement: Placement, node: Node) -> int:
    """Prepare a node to take rows of the shards that have come to it, and return how many these were.

    Numbers of transactions are the node's own; those of rows go on from the ones that the shard brings along.
    Raises psycopg.Error.
    """
    has_table = connection.execute(_HAS_READY_TABLE).fetchone() == (True,)
    made = 0
    for shard in placement.nodes.get(node, ()):
        if not has_table or connection.execute(_READY, (shard.table(ROWS),)).fetchone() != (True,):
            _make_ready(connection, shard)
            made += 1
    return made


def _make_ready(connection: ShardConnection, shard: Shard) -> None:
    with connection.transaction():
        connection.execute(_LOCK_READY)
        connection.execute(_MAKE_READY_TABLE)
        if not connection.execute(_NOTE_READY, (shard.table(ROWS),)).rowcount:
            return
        connection.shard = shard
        try:
            with connection.transaction():  # it holds the shard, so it is where it was said to be
                count_on(connection)
        finally:
            connection.shard = None
