"""Partitions of `http_request_rows`: a day of `timestamp` each, made before the day comes.

Rows of other days land in the partition `older`, or in the default one, `ahead` (see 0007_request_rows.sql). A row that
was too far ahead when it came is moved to its day's partition when that one is made.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql

from storage.brin_ranges import leave_last_range_open
from storage.database import durable_transaction, naming_lock_timeouts, set_lock_timeout
from storage.migrations import ADVISORY_LOCK

DAYS_BACK = 7
DAYS_AHEAD = 7
# Attaching waits for the rows in flight to the default partition; others queue behind it for no longer.
LOCK_TIMEOUT = "200ms"

# Once its day is over, and its summaries are made, it may be vacuumed for its rows.
LET_VACUUM = "ALTER TABLE {} RESET (autovacuum_vacuum_insert_threshold)"

_DAY_NAME = re.compile(r"http_request_rows_[0-9]{8}")

_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_EXISTING = """
SELECT child.relname
  FROM pg_inherits
  JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
 WHERE pg_inherits.inhparent = 'http_request_rows'::regclass
"""
_FIRST_DAY = """
SELECT (regexp_match(pg_get_expr(relpartbound, oid), 'TO \\(''([^'']+)''\\)'))[1]::timestamptz
  FROM pg_class WHERE oid = 'http_request_rows_older'::regclass
"""
# A vacuum keeps summaries of BRIN indexes from being made (brin_ranges.py), so rows that come do not set one off.
_CREATE = """
CREATE TABLE {day} (LIKE http_request_rows INCLUDING DEFAULTS INCLUDING COMMENTS)
  WITH (autovacuum_vacuum_insert_threshold = -1)
"""
# From the top down, as writers and readers lock, so that none of them deadlocks with this.
_LOCK_DEFAULT = "LOCK TABLE http_request_rows_ahead IN ACCESS EXCLUSIVE MODE"
_MOVE = """
WITH moved AS (
    DELETE FROM http_request_rows_ahead WHERE "timestamp" >= {start} AND "timestamp" < {end} RETURNING *
)
INSERT INTO {day} SELECT * FROM moved
"""
_ATTACH = "ALTER TABLE http_request_rows ATTACH PARTITION {day} FOR VALUES FROM ({start}) TO ({end})"


def partition_name(day: date) -> str:
    """Return the name of the partition of `day` (a UTC day), e.g. http_request_rows_20261123."""
    return f"http_request_rows_{day:%Y%m%d}"


def first_day(connection: psycopg.Connection) -> date:
    """Return the first day (UTC) that may have a partition: DAYS_BACK before the schema was made."""
    row = connection.execute(_FIRST_DAY).fetchone()
    return row[0].astimezone(UTC).date() if row else date.max


def days_due(connection: psycopg.Connection, today: date) -> list[date]:
    """Return the days from DAYS_BACK before to DAYS_AHEAD after `today` (a UTC day) that have no partition yet.

    Days before the schema was made never get one.
    """
    existing = _existing(connection)
    # Days that were dropped for their age, maybe at this moment, are not made again.
    oldest = min(filter(_DAY_NAME.fullmatch, existing), default="")
    days = [today + timedelta(days=offset) for offset in range(-DAYS_BACK, DAYS_AHEAD + 1)]
    return _without_partition(
        connection, [day for day in days if day >= today or partition_name(day) >= oldest], existing
    )


def ensure_partitions(connection: psycopg.Connection, today: date) -> list[str]:
    """Make the partitions that are due, and return their names.

    Safe when several servers call it at once. Each day is a transaction of its own, so that locks are short; when no
    day is due, there are none. Raises psycopg.errors.LockNotAvailable when transactions of others, a backup's for
    example, hold the default partition, and psycopg.errors.InsufficientPrivilege when the role does not own the table.
    """
    return [partition_name(day) for day in days_due(connection, today) if _make_partition(connection, day)]


def ensure_partition(connection: psycopg.Connection, day: date) -> None:
    """Make the partition of a day as `ensure_partitions` does, unless it is there or `older` has the day."""
    for missing in _without_partition(connection, [day], _existing(connection)):
        _make_partition(connection, missing)


def _existing(connection: psycopg.Connection) -> set[str]:
    return {name for (name,) in connection.execute(_EXISTING)}


def _without_partition(connection: psycopg.Connection, days: Sequence[date], existing: set[str]) -> list[date]:
    first = first_day(connection)
    return [day for day in days if day >= first and partition_name(day) not in existing]


def _make_partition(connection: psycopg.Connection, day: date) -> bool:
    name = partition_name(day)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    bounds = {
        "day": sql.Identifier(name),
        "start": sql.Literal(start),
        "end": sql.Literal(start + timedelta(days=1)),
    }
    with naming_lock_timeouts(), durable_transaction(connection):
        connection.execute(_LOCK, (ADVISORY_LOCK,))
        if name in _existing(connection):
            return False
        set_lock_timeout(connection, LOCK_TIMEOUT)
        connection.execute(sql.SQL(_CREATE).format(**bounds))
        connection.execute(_LOCK_DEFAULT)
        connection.execute(sql.SQL(_MOVE).format(**bounds))
        connection.execute(sql.SQL(_ATTACH).format(**bounds))
        leave_last_range_open(connection, name)
    return True
