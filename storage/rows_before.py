"""Moving what `http_requests_before`, the table of earlier versions, holds into `http_request_rows`.

A step moves the rows of some blocks of one partition, in a transaction of its own, so a view of both tables shows each
row once at any moment, and a step that is interrupted did nothing. Steps of several servers do not run side by side.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
from psycopg import sql

from storage.database import durable_transaction
from storage.migrations import ADVISORY_LOCK
from storage.partitions import ensure_partition

# Readers and writers queue behind a partition that is to be dropped, for no longer than this.
LOCK_TIMEOUT = "200ms"
BLOCK_BYTES = 8192

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%s)"
_MOVER_LOCK = ADVISORY_LOCK + 1
_SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, true)"
# Of the table itself, too, as long as it is there. Days come newest first, those with dates of no day at last.
_PARTITIONS = """
SELECT relname, (pg_relation_size(oid) / current_setting('block_size')::int)::int, isleaf AND relkind = 'r'
  FROM pg_partition_tree(to_regclass('http_requests_before')) JOIN pg_class ON oid = relid
 ORDER BY substring(relname FROM '\\d+$') DESC NULLS LAST, relname
"""
# The view's trigger stores rows in their new form.
_MOVE = """
WITH moved AS (DELETE FROM {partition} WHERE ctid >= {first} AND ctid < {end} RETURNING *)
INSERT INTO http_requests SELECT * FROM moved
"""
# Nothing deletes projects, but an owner of the database may have.
_MAKE_PROJECTS = """
INSERT INTO projects (id, name) SELECT DISTINCT project_id, 'deleted ' || project_id
  FROM {partition} WHERE ctid >= {first} AND ctid < {end}
    ON CONFLICT DO NOTHING
"""
_LOCK = "LOCK TABLE {partition} IN SHARE MODE"
_HAS_ROWS = "SELECT EXISTS (SELECT FROM {partition})"
_DROP = "DROP TABLE {partition}"
_FINISH = """
CREATE OR REPLACE VIEW http_requests AS SELECT * FROM http_requests_moved;
CREATE OR REPLACE VIEW readable_rows AS SELECT * FROM http_request_rows;
DROP TABLE http_requests_before
"""


class Unmoved(NamedTuple):
    """A partition whose rows are yet to be moved, and its size in blocks, which deleting does not change."""

    partition: str
    blocks: int


class BusyError(Exception):
    """Another server moves rows at this moment, or did since this one looked."""


def unmoved_partitions(connection: psycopg.Connection) -> list[Unmoved] | None:
    """Return what is to be moved, in the order in which it should be; None when the table is gone."""
    found = connection.execute(_PARTITIONS).fetchall()
    return [Unmoved(name, blocks or 0) for name, blocks, has_rows in found if has_rows] if found else None


def move_rows(connection: psycopg.Connection, partition: str, first_block: int, end_block: int) -> None:
    """Move the rows of some blocks of a partition, `end_block` not included.

    Raises BusyError, and psycopg.errors.LockNotAvailable when the partition of their day cannot be made now.
    """
    if day := re.search(r"_(\d{8})$", partition):
        ensure_partition(connection, datetime.strptime(day[1], "%Y%m%d").replace(tzinfo=UTC).date())
    step = {
        "partition": sql.Identifier(partition),
        "first": sql.Literal(f"({first_block},0)"),
        "end": sql.Literal(f"({end_block},0)"),
    }
    try:
        with _only_mover(connection):
            connection.execute(sql.SQL(_MOVE).format(**step))
    except psycopg.errors.ForeignKeyViolation:
        with _only_mover(connection):
            connection.execute(sql.SQL(_MAKE_PROJECTS).format(**step))
            connection.execute(sql.SQL(_MOVE).format(**step))


def drop_partition(connection: psycopg.Connection, partition: str) -> bool:
    """Drop a partition, unless it has rows; return whether it had none.

    Raises BusyError, and psycopg.errors.LockNotAvailable when transactions of others, a backup's for example, hold it.
    """
    name = {"partition": sql.Identifier(partition)}
    with _only_mover(connection):
        connection.execute(_SET_LOCK_TIMEOUT, (LOCK_TIMEOUT,))
        connection.execute(sql.SQL(_LOCK).format(**name))
        if connection.execute(sql.SQL(_HAS_ROWS).format(**name)).fetchone() != (False,):
            return False
        connection.execute(sql.SQL(_DROP).format(**name))
    return True


def drop_table(connection: psycopg.Connection) -> None:
    """Let the views show the new table alone, and drop that of earlier versions, which has no partitions any more.

    Raises BusyError, and psycopg.errors.LockNotAvailable.
    """
    with _only_mover(connection):
        connection.execute(_SET_LOCK_TIMEOUT, (LOCK_TIMEOUT,))
        connection.execute(_FINISH)


@contextmanager
def _only_mover(connection: psycopg.Connection) -> Iterator[None]:
    try:
        with durable_transaction(connection):
            if connection.execute(_TRY_LOCK, (_MOVER_LOCK,)).fetchone() != (True,):
                raise BusyError
            yield
    except psycopg.errors.UndefinedTable as error:  # it was dropped since this server looked
        raise BusyError from error
