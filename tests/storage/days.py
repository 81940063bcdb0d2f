"""The day of a test: that of its database, which may be yesterday's just after midnight."""

from datetime import UTC, date, datetime, timedelta

import psycopg

from storage.partitions import DAYS_BACK

_FIRST_DAY = """
SELECT (regexp_match(pg_get_expr(relpartbound, oid), 'TO \\(''([^'']+)''\\)'))[1]::timestamptz
  FROM pg_class WHERE oid = 'http_request_rows_older'::regclass
"""


def first_day(connection: psycopg.Connection) -> date:
    """Return the first day (UTC) that has a partition of its own in a database with the schema."""
    row = connection.execute(_FIRST_DAY).fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC).date()


def day_of_schema(connection: psycopg.Connection) -> date:
    """Return the day (UTC) that a database got its schema on."""
    return first_day(connection) + timedelta(days=DAYS_BACK)
