"""Every value of a row comes back as it went in, through the writer and a real table."""

import struct
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import RFC_4122, UUID

import psycopg
import pytest

from storage.keys.projects import create_project
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import Values
from tests.patience import PATIENCE_S
from tests.storage.rows import PROJECT_NUMBER, encoded, make_columns, microseconds, rows_by_id
from tests.storage.submitting import Writer, submit
from tests.trace_ids import spellings

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

MAX_INT64 = 2**63 - 1
TEXTS = [
    "plain",
    "",
    " ",
    "Grüße, Jörg",
    "日本語",
    "😀 👩‍👩‍👧‍👦",
    "e\u0301",
    "\u202eabc",
    "a\tb\nc\r\\N\\.",
    "\x01\x7f",
    "\ufeff\uffff\U0010ffff",
    "x" * 8_192,
]
MOMENTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(1582, 10, 15, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2000, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2024, 2, 29, 12, 30, 15, 123_456, tzinfo=UTC),
    datetime(2026, 3, 31, 12, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


def store(connection: psycopg.Connection, writer: Writer, columns: Values) -> list[dict[str, Any]]:
    batch = HTTP_REQUESTS.encode(PROJECT_NUMBER, columns)
    assert batch.rows == len(columns["trace_id"])
    assert submit(writer, batch).result(PATIENCE_S) == batch.rows
    return rows_by_id(connection)


def test_every_column_comes_back_in_its_place(connection: psycopg.Connection, writer: Writer) -> None:
    project = create_project(connection, "shop")
    columns: dict[str, list[Any]] = {
        "trace_id": ["trace-1", "trace-2"],
        "direction": ["outbound", "inbound"],
        "method": ["POST", "GET"],
        "host": ["payments.example.com", "api.example.com"],
        "path": ["/v1/charges", "/api/orders"],
        "status_code": [200, 401],
        "duration_ms": [320, 8],
        "request_size": [256, 1],
        "response_size": [1024, 64],
        "user_id": ["usr_99", None],
        "error_fingerprint": [None, "fingerprint"],
        "timestamp": [microseconds(MOMENTS[-2]), microseconds(MOMENTS[-3])],
    }
    assert submit(writer, HTTP_REQUESTS.encode(project.number, columns)).result(PATIENCE_S) == 2
    rows = rows_by_id(connection)
    for row in rows:
        assert isinstance(row.pop("id"), UUID)
        assert isinstance(row.pop("received_at"), datetime)
    assert rows == [
        {
            "project_id": project.id,
            "timestamp": MOMENTS[-2],
            "duration_ms": 320,
            "request_size": 256,
            "response_size": 1024,
            "direction": "outbound",
            "status_code": 200,
            "method": "POST",
            "host": "payments.example.com",
            "path": "/v1/charges",
            "trace_id": "trace-1",
            "user_id": "usr_99",
            "error_fingerprint": None,
        },
        {
            "project_id": project.id,
            "timestamp": MOMENTS[-3],
            "duration_ms": 8,
            "request_size": 1,
            "response_size": 64,
            "direction": "inbound",
            "status_code": 401,
            "method": "GET",
            "host": "api.example.com",
            "path": "/api/orders",
            "trace_id": "trace-2",
            "user_id": None,
            "error_fingerprint": "fingerprint",
        },
    ]


def test_trace_ids_of_every_spelling_come_back(connection: psycopg.Connection, writer: Writer) -> None:
    traces = spellings("00f067aa0ba902b74bf92f3577b34da6")
    rows = store(connection, writer, make_columns(len(traces)) | {"trace_id": traces})
    assert [row["trace_id"] for row in rows] == traces
    short = connection.execute("SELECT trace_is_dashed, other_trace FROM http_request_rows WHERE trace IS NOT NULL")
    assert sorted(short.fetchall()) == [(False, None), (True, None)]


def test_text_is_kept_exactly(connection: psycopg.Connection, writer: Writer) -> None:
    texts: dict[str, list[str]] = dict.fromkeys(["method", "host", "path", "user_id", "error_fingerprint"], TEXTS)
    texts["trace_id"] = [text[:2_000] for text in TEXTS]
    rows = store(connection, writer, make_columns(len(TEXTS)) | texts)
    assert {column: [row[column] for row in rows] for column in texts} == texts


def test_absent_and_empty_text_are_told_apart(connection: psycopg.Connection, writer: Writer) -> None:
    values = ["", None, "a", None, "", "NULL", "\\N"]
    columns = make_columns(len(values)) | {"user_id": values, "error_fingerprint": values}
    rows = store(connection, writer, columns)
    assert [row["user_id"] for row in rows] == values
    assert [row["error_fingerprint"] for row in rows] == values


def test_integers_are_kept_up_to_the_largest(connection: psycopg.Connection, writer: Writer) -> None:
    columns = {
        "duration_ms": [MAX_INT64, 42, 42],
        "request_size": [0, MAX_INT64, 0],
        "response_size": [512, 512, MAX_INT64],
    }
    rows = store(connection, writer, make_columns(3) | columns)
    assert {column: [row[column] for row in rows] for column in columns} == columns


def test_an_integer_that_a_column_cannot_hold_is_refused_before_it_is_queued() -> None:
    with pytest.raises(struct.error):
        encoded(duration_ms=MAX_INT64 + 1)


def test_status_codes_are_kept_from_0_to_599(connection: psycopg.Connection, writer: Writer) -> None:
    codes = [0, 100, 200, 404, 599]
    for code in codes:
        assert submit(writer, encoded(status_code=code)).result(PATIENCE_S) == 1
    assert sorted(row["status_code"] for row in rows_by_id(connection)) == codes


def test_timestamps_are_kept_to_the_microsecond_from_year_1_to_9999(
    connection: psycopg.Connection, writer: Writer
) -> None:
    columns = make_columns(len(MOMENTS)) | {"timestamp": list(map(microseconds, MOMENTS))}
    rows = store(connection, writer, columns)
    assert [row["timestamp"] for row in rows] == MOMENTS


def test_received_at_is_the_moment_of_encoding(connection: psycopg.Connection, writer: Writer) -> None:
    before = datetime.now(UTC)
    rows = store(connection, writer, make_columns(5, timestamp=0))
    after = datetime.now(UTC)
    moments = {row["received_at"] for row in rows}
    assert len(moments) == 1
    assert before - timedelta(milliseconds=1) <= moments.pop() <= after


def test_ids_are_unique_ascending_uuids_of_version_7(connection: psycopg.Connection, writer: Writer) -> None:
    before_ms = time.time_ns() // 1_000_000
    columns = make_columns(100)
    rows = store(connection, writer, columns)
    after_ms = time.time_ns() // 1_000_000
    ids: list[UUID] = [row["id"] for row in rows]
    assert [row["trace_id"] for row in rows] == columns["trace_id"]
    assert len(set(ids)) == 100
    assert {(row_id.version, row_id.variant) for row_id in ids} == {(7, RFC_4122)}
    assert all(before_ms <= row_id.int >> 80 <= after_ms for row_id in ids)


def test_ids_of_many_batches_of_the_longest_are_unique_and_in_order() -> None:
    seen: set[bytes] = set()
    columns = make_columns(2_048, path="", host="", method="", trace_id="")
    for _ in range(50):
        data = HTTP_REQUESTS.encode(PROJECT_NUMBER, columns).data
        row_length = len(data) // 2_048
        ids = [data[start : start + 16] for start in range(6, len(data), row_length)]
        assert ids == sorted(ids)
        assert {UUID(bytes=row_id).version for row_id in ids} == {7}
        seen.update(ids)
    assert len(seen) == 50 * 2_048
