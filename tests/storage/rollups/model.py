"""Random rows, and the same sums from rollups and from the rows themselves."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg

from storage.endpoints import endpoint_of
from storage.rollups.groups import Level, Span
from storage.rollups.stored_groups import KIND_BITS, decode_groups
from storage.sketch import bucket_of

LARGEST = 2**63 - 1
MOMENTS = ("0001-01-01 00:00+00", "1969-12-31 23:59:59.999999+00", "9999-12-31 23:59:59+00", "2000-01-01 00:00+00")
_INSERT = """
INSERT INTO http_request_rows (id, project, "timestamp", duration_ms, long_duration_ms, request_size, long_request_size,
                               response_size, long_response_size, is_inbound, status_code, method, host, path,
                               other_trace)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'trace')
"""
_ROWS = """
SELECT project, is_inbound, status_code / 100, method, host, path, coalesce(duration_ms, long_duration_ms),
       coalesce(request_size, long_request_size), coalesce(response_size, long_response_size),
       date_trunc(%s, "timestamp", 'UTC')::text
  FROM http_request_rows WHERE transaction < (SELECT mark FROM rollup_state)
"""
_STORED = "SELECT project, start::text, groups FROM {table} WHERE level = %s"
_NAMES = "SELECT project, number, method, host, endpoint FROM rollup_names"

Sums = dict[tuple[object, ...], Counter[object]]


def insert_random_rows(connection: psycopg.Connection, source: random.Random, count: int) -> None:
    """Store rows of now, late ones, some of far-off dates, of small and of the largest figures."""
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT, [_random_row(source) for _ in range(count)])


def sums_of_rows(connection: psycopg.Connection, span: Span, level: Level) -> Sums:
    """Return the sums over rows below the mark, by group."""
    sums: Sums = {}
    for project, inbound, status_class, method, host, path, duration, request, response, start in connection.execute(
        _ROWS, (span.name.lower(),)
    ):
        names = ((None, None, None), (method, host, None), (method, host, endpoint_of(path)))[level]
        total = sums.setdefault((project, inbound, status_class, *names, start), Counter())
        total.update({"requests": 1, "slow": int(duration > 1000), "duration": duration, "request": request})
        total.update({"response": response, bucket_of(duration): 1})
    return {group: +total for group, total in sums.items()}


def sums_of_rollups(connection: psycopg.Connection, span: Span, level: Level) -> Sums:
    """Return the sums that a table has, by group."""
    names = {(project, number): tuple(texts) for project, number, *texts in connection.execute(_NAMES)}
    sums: Sums = {}
    for project, start, data in connection.execute(_STORED.format(table=span.table).encode(), (level,)):
        for key, stored in decode_groups(data):
            number, kind = divmod(key, 2**KIND_BITS)
            group = (project, kind >= 16, kind % 16, *names.get((project, number), (None, None, None)), start)
            total = sums.setdefault(group, Counter())
            total.update({"requests": stored.requests, "slow": stored.slow, "duration": stored.duration_ms})
            total.update({"request": stored.request_bytes, "response": stored.response_bytes})
            total.update(stored.buckets)
    return {group: +total for group, total in sums.items()}


def _random_row(source: random.Random) -> tuple[object, ...]:
    def figure() -> tuple[int | None, int | None]:
        value = source.choice((0, 1, source.randrange(3_000), 1000, 1001, 2**31 - 1, 2**31, LARGEST))
        return (value, None) if value < 2**31 else (None, value)

    project = source.randrange(1, 4)
    return (
        uuid4(),
        project,
        _random_moment(source),
        *figure(),
        *figure(),
        *figure(),
        source.random() < 0.5,
        source.choice((0, 200, 204, 301, 404, 500, 503, 599)),
        source.choice(("GET", "POST")),
        source.choice(("api.example.com", "ünïcode.example", "{other}" if project == 1 else "other")),
        source.choice(("/", "/orders/1", f"/orders/{source.randrange(10**9)}", f"/files/{uuid4()}/x", "/größe/ß")),
    )


def _random_moment(source: random.Random) -> datetime | str:
    kind = source.random()
    if kind < 0.05:
        return source.choice(MOMENTS)
    hours = source.choice((0.05, 3, 30, 80, 24 * 40))
    return datetime.now(UTC) - timedelta(hours=source.uniform(-0.5, 1) * hours)
