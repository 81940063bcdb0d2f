"""Deleting rows: whole days at once, and rows of other days and of deleted projects in bounded steps.

Each function is one short transaction, so that it can be cut off anywhere and called again. Any number of servers and
commands may call them: they take turns. None waits long for a lock, since writers would queue behind it. Rows go only
once the rollups have them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg import sql

from storage.database import durable_transaction

STEP_ROWS = 5_000
LOCK_TIMEOUT = "200ms"
# Partitions that hold rows of many days.
OTHER_DAYS = ("http_request_rows_older", "http_request_rows_ahead")

# Of whoever deletes rows; arbitrary, but fixed for ever.
_ADVISORY_LOCK = 7_220_419_006
_LOCK = "SELECT set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s)"
_EXPIRED = """
SELECT day.relname, pg_total_relation_size(day.oid)
  FROM pg_inherits
  JOIN pg_class AS day ON day.oid = inhrelid
 CROSS JOIN regexp_match(pg_get_expr(day.relpartbound, day.oid), 'FROM \\(''[^'']+''\\) TO \\(''([^'']+)''\\)') AS bound
 WHERE inhparent = 'http_request_rows'::regclass AND bound[1]::timestamptz <= %s
 ORDER BY 1
"""
# From the top down, as writers and readers lock. Of a table with a default partition none can be detached CONCURRENTLY.
_LOCK_TABLE = "LOCK TABLE ONLY http_request_rows IN ACCESS EXCLUSIVE MODE"
_IS_GONE = "SELECT to_regclass(%s) IS NULL"
_DROP = "DROP TABLE {}"
_IS_NEEDED = "SELECT EXISTS (SELECT FROM {} WHERE transaction >= (SELECT mark FROM rollup_state))"
# The smallest number, the next one above it, and so on: a look-up in the index for each.
_PROJECTS = """
WITH RECURSIVE numbers (number) AS (
    SELECT min(project) FROM {table}
     UNION ALL
    SELECT (SELECT min(project) FROM {table} WHERE project > number) FROM numbers WHERE number IS NOT NULL
)
SELECT number FROM numbers WHERE number IS NOT NULL
"""
_DELETE_OLD = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {table}
     WHERE project = %s AND "timestamp" < %s AND transaction < (SELECT mark FROM rollup_state)
     ORDER BY "timestamp" LIMIT %s
))
"""
_LACKS_OLD = """
SELECT EXISTS (SELECT FROM {} WHERE "timestamp" < %s AND transaction >= (SELECT mark FROM rollup_state))
"""
_PREFER_INDEX = "SELECT set_config('enable_seqscan', 'off', true)"
# Asked by itself: it is on every node of a distributed database, and Citus would plan what has it and a shard.
_DELETED = "SELECT number FROM deleted_projects"
_TABLE_OF_DELETED = """
SELECT (SELECT relname FROM pg_class WHERE oid = stored.tableoid)
  FROM http_request_rows AS stored WHERE project = ANY (%s) LIMIT 1
"""
# Whoever changes rollups locks their state first.
_LOCK_ROLLUPS = "SELECT FROM rollup_state FOR UPDATE"
_ROLLUPS = ("rollup_minutes", "rollup_hours", "rollup_days", "rollup_unmerged", "rollup_names")
_HAS_DELETED = "SELECT EXISTS (SELECT FROM {} WHERE project = ANY (%s))"
_DELETE_DELETED = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE project = ANY (%s) LIMIT %s))
"""


class ExpiredDay(NamedTuple):
    """The partition of a day that may go, and its size in bytes with indexes."""

    name: str
    size_bytes: int


def limit_of(now: datetime, days: int) -> datetime:
    """Return the midnight (UTC) before which rows may go when so many whole days are kept, and the present one."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days)


def expired_days(connection: psycopg.Connection, before: datetime) -> list[ExpiredDay]:
    """Return the partitions whose day had ended at `before`, the oldest first."""
    return list(map(ExpiredDay._make, connection.execute(_EXPIRED, (before,)).fetchall()))


def drop_day(connection: psycopg.Connection, day: ExpiredDay) -> bool:
    """Drop the partition of a day, and return whether it is gone: rows that the rollups still need keep it.

    Raises psycopg.errors.LockNotAvailable when transactions of others, a backup's for example, use the table.
    """
    table = sql.Identifier(day.name)
    with durable_transaction(connection):
        connection.execute(_LOCK, (LOCK_TIMEOUT, _ADVISORY_LOCK))
        # Asked twice: writers are not to wait in vain, and a late row may come until the table is locked.
        if _is_gone(connection, day):
            return True
        if is_needed(connection, day):
            return False
        connection.execute(_LOCK_TABLE)
        if is_needed(connection, day):
            return False
        connection.execute(sql.SQL(_DROP).format(table))
    return True


def is_needed(connection: psycopg.Connection, day: ExpiredDay) -> bool:
    """Tell whether the rollups lack rows of a day. Raises psycopg.Error."""
    return connection.execute(sql.SQL(_IS_NEEDED).format(sql.Identifier(day.name))).fetchone() == (True,)


def delete_other_days(connection: psycopg.Connection, before: datetime) -> int:
    """Delete up to STEP_ROWS rows older than `before` that are in no day's partition; 0 means that none is left but
    those that the rollups lack.

    Raises psycopg.errors.LockNotAvailable.
    """
    with durable_transaction(connection):
        connection.execute(_LOCK, (LOCK_TIMEOUT, _ADVISORY_LOCK))
        for name in OTHER_DAYS:
            table = sql.Identifier(name)
            for (project,) in connection.execute(sql.SQL(_PROJECTS).format(table=table)).fetchall():
                parameters = (project, before, STEP_ROWS)
                if deleted := connection.execute(sql.SQL(_DELETE_OLD).format(table=table), parameters).rowcount:
                    return deleted
    return 0


def rollups_lack_other_days(connection: psycopg.Connection, before: datetime) -> bool:
    """Tell whether the rollups lack rows that `delete_other_days` would delete. Raises psycopg.Error."""
    lacks = (sql.SQL(_LACKS_OLD).format(sql.Identifier(name)) for name in OTHER_DAYS)
    return any(connection.execute(query, (before,)).fetchone() == (True,) for query in lacks)


def delete_deleted_projects(connection: psycopg.Connection) -> int:
    """Delete up to STEP_ROWS rows, or groups of rollups, of projects that were deleted; 0 means that none is left.

    Raises psycopg.errors.LockNotAvailable.
    """
    with durable_transaction(connection):
        connection.execute(_LOCK, (LOCK_TIMEOUT, _ADVISORY_LOCK))
        connection.execute(_PREFER_INDEX)
        if not (numbers := [number for (number,) in connection.execute(_DELETED)]):
            return 0
        if (row := connection.execute(_TABLE_OF_DELETED, (numbers,)).fetchone()) is not None:
            return _delete_deleted(connection, row[0], numbers)
        for table in _ROLLUPS:
            has_deleted = sql.SQL(_HAS_DELETED).format(sql.Identifier(table))
            if connection.execute(has_deleted, (numbers,)).fetchone() == (True,):
                connection.execute(_LOCK_ROLLUPS)
                return _delete_deleted(connection, table, numbers)
    return 0


def _is_gone(connection: psycopg.Connection, day: ExpiredDay) -> bool:
    """Tell whether somebody else was faster."""
    return connection.execute(_IS_GONE, (day.name,)).fetchone() == (True,)


def _delete_deleted(connection: psycopg.Connection, table: str, numbers: Sequence[int]) -> int:
    statement = sql.SQL(_DELETE_DELETED).format(table=sql.Identifier(table))
    return connection.execute(statement, (numbers, STEP_ROWS)).rowcount
