"""Batches for the writer, and the rows that came of them."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch

REFUSED_TEXT = "\0"  # Postgres holds no NUL characters
PROJECT_NUMBER = 1  # of no project, where nobody asks for it
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Return a moment as the columns hold it."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def make_columns(count: int = 1, **changes: Any) -> dict[str, list[Any]]:
    """Return `count` valid rows of now, each with a trace id of its own; a change is the value of a whole column."""
    now = time.time_ns() // 1000
    columns: dict[str, list[Any]] = {
        "trace_id": [f"trace-{uuid4().hex}" for _ in range(count)],
        "direction": ["inbound"] * count,
        "method": ["GET"] * count,
        "host": ["api.example.com"] * count,
        "path": ["/v1/orders"] * count,
        "status_code": [200] * count,
        "duration_ms": [42] * count,
        "request_size": [0] * count,
        "response_size": [512] * count,
        "user_id": [None] * count,
        "error_fingerprint": [None] * count,
        "timestamp": [now] * count,
    }
    assert changes.keys() <= columns.keys()
    return columns | {name: [value] * count for name, value in changes.items()}


def encoded(count: int = 1, **changes: Any) -> EncodedBatch:
    """Return what `make_columns` gives, encoded for a project."""
    return HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(count, **changes))


def refused_batch() -> EncodedBatch:
    """Return a batch that Postgres refuses."""
    return encoded(path=REFUSED_TEXT)


def rows_by_id(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Return all stored rows, in the order of their ids."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM http_requests ORDER BY id").fetchall()


def stored_traces(connection: psycopg.Connection) -> list[str]:
    """Return the trace ids of all stored rows, sorted."""
    return sorted(row["trace_id"] for row in rows_by_id(connection))


def count_rows(connection: psycopg.Connection) -> int:
    """Return the number of stored rows."""
    row = connection.execute("SELECT count(*) FROM http_requests").fetchone()
    assert row is not None
    return int(row[0])


def rows_by_transaction(connection: psycopg.Connection, condition: str = "true") -> list[int]:
    """Return how many rows each transaction stored of those that meet a condition."""
    query = f"SELECT count(*) FROM http_request_rows WHERE {condition} GROUP BY xmin::text"
    return [count for (count,) in connection.execute(query.encode()).fetchall()]


def count_transactions(connection: psycopg.Connection) -> int:
    """Return the number of transactions that stored rows."""
    return len(rows_by_transaction(connection))


def insert_row(connection: psycopg.Connection, moment: datetime | str) -> UUID:
    """Store a row of that moment with plain SQL and return its id."""
    row_id = UUID(int=(time.time_ns() // 1_000_000 << 80) | uuid4().int & (1 << 80) - 1)  # received now
    connection.execute(
        """
        INSERT INTO http_request_rows (id, project, "timestamp", duration_ms, request_size, response_size,
                                       is_inbound, status_code, method, host, path, other_trace)
        VALUES (%s, %s, %s, 1, 2, 3, false, 204, 'PUT', 'host', '/path', 'trace')
        """,
        (row_id, PROJECT_NUMBER, moment),
    )
    return row_id


def table_of(connection: psycopg.Connection, row_id: UUID) -> str:
    """Return the name of the partition that holds a row."""
    row = connection.execute(
        "SELECT tableoid::regclass::text FROM http_request_rows WHERE id = %s", (row_id,)
    ).fetchone()
    assert row is not None
    return str(row[0])
