"""Days that are over: the index by time of their partition, half empty after inserts all over it, is built anew.

That saves a fourth of the index. And the last ranges of the other indexes get their summaries, without which readers
scan them. Then autovacuum may freeze the rows. Writers and readers go on meanwhile, and late rows are stored as ever.
"""

from datetime import datetime, timedelta

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.errors import LockNotAvailable

from storage.brin_ranges import summarize_to_the_end
from storage.database import connect, durable_transaction
from storage.partitions import LET_VACUUM

# Most late rows have come by then.
CLOSING_DELAY = timedelta(hours=1)
LOCK_TIMEOUT = "200ms"

# Of whichever server closes days of this database; arbitrary, but fixed for ever.
_ADVISORY_LOCK = 7_220_419_005
# Without parameters: what the extended protocol executes keeps its snapshot, for which a rebuild would wait.
_TRY_LOCK = f"SELECT pg_try_advisory_xact_lock({_ADVISORY_LOCK})"

# It stays with an index when that is rebuilt, and is in backups.
_MARK = "rebuilt after its day had ended"
# Rows of the schema before are still being moved into old days.
_TO_CLOSE = """
SELECT day.relname, built.relname
  FROM pg_inherits AS of_table
  JOIN pg_class AS day ON day.oid = of_table.inhrelid
  JOIN pg_index ON indrelid = day.oid
  JOIN pg_class AS built ON built.oid = indexrelid
  JOIN pg_inherits AS of_index ON of_index.inhrelid = built.oid
 CROSS JOIN regexp_match(pg_get_expr(day.relpartbound, day.oid), 'FROM \\(''[^'']+''\\) TO \\(''([^'']+)''\\)') AS bound
 WHERE of_table.inhparent = 'http_request_rows'::regclass
   AND of_index.inhparent = 'http_request_rows_project_timestamp'::regclass
   AND bound[1]::timestamptz <= %s
   AND pg_relation_size(day.oid) > 0
   AND obj_description(built.oid, 'pg_class') IS DISTINCT FROM %s
   AND to_regclass('http_requests_before') IS NULL
 ORDER BY 1
"""
_LEFT_OVER = """
SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = to_regclass(%s) AND NOT indisvalid
"""
_SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, true)"
# Conflicts with whatever builds an index of the table: what is not valid then, nobody is building.
_LOCK_TABLE = "LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE"
_DROP = "DROP INDEX {}"
_REBUILD = "REINDEX INDEX CONCURRENTLY {}"
_SET_MARK = "COMMENT ON INDEX {} IS {}"


def days_to_close(connection: psycopg.Connection, now: datetime) -> list[str]:
    """Return the partitions with rows whose day ended CLOSING_DELAY before `now`, and that are not closed."""
    return [day for day, _ in _find(connection, now)]


def close_days(connection: psycopg.Connection, url: str, now: datetime) -> list[str]:
    """Close what `days_to_close` gives, and return the names of what was closed.

    Of several servers one does it, the others return at once. A day is also left for later when something else works
    on its table, like a vacuum. What a rebuild that was cut off left behind is removed first. Holds a second connection
    to `url`, the same database. Raises psycopg.Error and StorageError.
    """
    if not _find(connection, now):
        return []
    # A lock of the session would be lost in a pooler that gives each transaction another session.
    with connect(url) as guard:
        guard.isolation_level = IsolationLevel.READ_COMMITTED
        with guard.transaction():
            if guard.execute(_TRY_LOCK).fetchone() != (True,):
                return []
            return [day for day, index in _find(connection, now) if _close(connection, day, index)]


def _find(connection: psycopg.Connection, now: datetime) -> list[tuple[str, str]]:
    return connection.execute(_TO_CLOSE, (now - CLOSING_DELAY, _MARK)).fetchall()


def _close(connection: psycopg.Connection, day: str, index: str) -> bool:
    table, name = sql.Identifier(day), sql.Identifier(index)
    try:
        with durable_transaction(connection):
            connection.execute(_SET_LOCK_TIMEOUT, (LOCK_TIMEOUT,))
            connection.execute(sql.SQL(_LOCK_TABLE).format(table))
            for (left_over,) in connection.execute(_LEFT_OVER, (day,)).fetchall():
                connection.execute(sql.SQL(_DROP).format(sql.Identifier(left_over)))
    except LockNotAvailable:
        return False
    connection.execute(sql.SQL(_REBUILD).format(name))
    summarize_to_the_end(connection, day)
    with durable_transaction(connection):
        connection.execute(sql.SQL(LET_VACUUM).format(table))
        connection.execute(sql.SQL(_SET_MARK).format(name, sql.Literal(_MARK)))
    return True
