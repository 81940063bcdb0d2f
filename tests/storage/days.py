"""The day of a test: that of its database, which may be yesterday's just after midnight."""

from datetime import date, timedelta

import psycopg

from storage.partitions import DAYS_BACK, first_day


def day_of_schema(connection: psycopg.Connection) -> date:
    """Return the day (UTC) that a database got its schema on."""
    return first_day(connection) + timedelta(days=DAYS_BACK)
