"""Many rows of one day, made within Postgres."""

from datetime import UTC, date, datetime

import psycopg

TODAY = datetime.now(UTC).date()

# Times all over the day, as an index grows half empty by.
_INSERT = """
INSERT INTO http_request_rows
       (id, project, "timestamp", status_code, is_inbound, trace, method, host, path)
SELECT gen_random_uuid(), 1, %(day)s::timestamp AT TIME ZONE 'UTC' + random() * interval '23 hours', 200, true,
       gen_random_uuid(), 'GET', 'api.example.com', '/api/orders'
  FROM generate_series(1, %(rows)s)
"""


def insert_day_rows(connection: psycopg.Connection, day: date, rows: int) -> None:
    """Store `rows` rows of `day`, each with a W3C trace of its own."""
    connection.execute(_INSERT, {"day": day, "rows": rows})
