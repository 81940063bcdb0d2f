"""Rows that were stored before `http_request_rows` was made, and what older servers and their spools send."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import storage.migrations
from server.database import row_moving
from server.database.row_moving import RowMoving
from storage.database import connect
from storage.migrations import all_migrations, migrate
from storage.partitions import ensure_partitions, partition_name
from tests.storage.rows import rows_by_id
from tests.storage.waiting import run_at_once

pytestmark = pytest.mark.one_postgres("a database is distributed only after they are moved")

OLD = [migration for migration in all_migrations() if migration.version < 7]
OF_TODAY = """
CREATE TABLE http_requests_{today} PARTITION OF http_requests
   FOR VALUES FROM (date_trunc('day', now())) TO (date_trunc('day', now()) + interval '1 day')
"""
INSERT = """
INSERT INTO http_requests (id, project_id, "timestamp", received_at, duration_ms, request_size, response_size,
                           direction, status_code, method, host, path, trace_id, user_id)
SELECT overlay(overlay(gen_random_uuid()::text PLACING '019a' FROM 1) PLACING '7' FROM 15)::uuid, %(project)s,
       CASE number WHEN 1 THEN '1999-01-01Z' WHEN 2 THEN '9999-01-01Z' ELSE now() END, now(),
       CASE number WHEN 3 THEN 5000000000 ELSE number END, number, CASE number WHEN 4 THEN 2147483648 ELSE 0 END,
       CASE number %% 2 WHEN 0 THEN 'inbound'::request_direction ELSE 'outbound' END,
       200, 'GET', 'api.example.com', '/' || number,
       CASE number %% 3 WHEN 0 THEN md5(number::text) WHEN 1 THEN md5(number::text)::uuid::text ELSE 'other' END,
       CASE number WHEN 5 THEN 'someone' END
  FROM generate_series(1, %(rows)s) AS number
"""
ROWS = 1_000
MAPPED = """
SELECT project, "timestamp", duration_ms, request_size, response_size, status_code, is_inbound, trace_is_dashed, trace,
       method, host, path, other_trace, user_id, error_fingerprint, long_duration_ms, long_request_size,
       long_response_size FROM {} ORDER BY id
"""
FIRST_DAY_OF_OLDER_SERVERS = r"""
SELECT (regexp_match(pg_get_expr(relpartbound, oid), 'FROM \(''([^'']+)''\)'))[1]::timestamptz
  FROM pg_class WHERE oid = 'http_requests_ahead'::regclass
"""
PARTITIONS_OF_OLDER_SERVERS = """
SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
 WHERE pg_inherits.inhparent = 'http_requests'::regclass
"""


@pytest.fixture
def project() -> UUID:
    return uuid4()


@pytest.fixture
def old(database_url: str, project: UUID, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A database that a server of the version before has filled with rows."""
    with connect(database_url) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(storage.migrations, "all_migrations", lambda: OLD)
            migrate(connection)
        with connection.transaction():  # of one moment, of one day
            (today,) = connection.execute("SELECT to_char(now(), 'YYYYMMDD')").fetchone() or ("",)
            connection.execute(OF_TODAY.format(today=today).encode())
            connection.execute("INSERT INTO projects (id, name) VALUES (%s, 'shop')", (project,))
            connection.execute(INSERT, {"project": project, "rows": ROWS})
        yield connection


def day_of(rows: list[dict[str, Any]]) -> date:
    """Return the day (UTC) of all rows but the oldest and the newest."""
    moments: list[datetime] = sorted(row["timestamp"] for row in rows)
    return moments[1].astimezone(UTC).date()


def rows_as_moved(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Return all rows without when they were received, which is part of a moved row's id, in ms."""
    return [{name: value for name, value in row.items() if name != "received_at"} for row in rows_by_id(connection)]


def test_the_view_shows_what_the_table_held(old: psycopg.Connection) -> None:
    before = rows_by_id(old)
    assert len(before) == ROWS
    migrate(old)
    assert rows_by_id(old) == before


def test_what_is_stored_through_the_view_is_stored_as_rows(old: psycopg.Connection, project: UUID) -> None:
    migrate(old)
    unmoved = old.execute(MAPPED.format("readable_rows").encode()).fetchall()
    before = rows_as_moved(old)
    old.execute("CREATE TEMPORARY TABLE sent AS SELECT * FROM http_requests_before")
    old.execute("TRUNCATE http_requests_before")
    old.execute("INSERT INTO http_requests SELECT * FROM sent")
    assert old.execute(MAPPED.format("http_request_rows").encode()).fetchall() == unmoved
    assert rows_as_moved(old) == before


def test_a_project_that_is_not_there_is_named(connection: psycopg.Connection, project: UUID) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match=str(project)):
        connection.execute(INSERT, {"project": project, "rows": 1})


def test_who_might_use_the_table_may_use_what_takes_its_place(old: psycopg.Connection) -> None:
    old.execute("GRANT SELECT ON http_requests TO PUBLIC")
    migrate(old)
    granted = old.execute(
        "SELECT oid::regclass::text FROM pg_class, aclexplode(relacl) AS acl WHERE acl.grantee = 0 "
        "AND relnamespace = 'public'::regnamespace ORDER BY 1"
    ).fetchall()
    assert [name for (name,) in granted] == [
        "http_request_rows", "http_requests", "http_requests_before", "readable_rows",
    ]  # fmt: skip


def test_rows_are_moved_in_steps_and_seen_once_at_any_moment(
    old: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_moving, "STEP_BLOCKS", 2)
    before = rows_as_moved(old)
    migrate(old)
    moving = RowMoving()
    steps = 0
    while moving.work(old, 0.0001):
        assert rows_as_moved(old) == before
        steps += 1
    assert steps > 10
    assert_moved(old, before)
    assert moving.unmoved_bytes == 0


def test_several_servers_move_rows_at_once_and_those_of_deleted_projects_too(
    old: psycopg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_moving, "STEP_BLOCKS", 2)
    before = rows_as_moved(old)
    old.execute("DELETE FROM projects")
    migrate(old)

    def move() -> None:
        moving = RowMoving()
        with connect(database_url) as connection:
            while not moving.is_over:
                moving.work(connection, 0.01)

    run_at_once(3, move)
    assert_moved(old, before)


def test_a_reader_holds_up_no_more_than_the_end_of_a_partition(old: psycopg.Connection, database_url: str) -> None:
    before = rows_as_moved(old)
    migrate(old)
    ensure_partitions(old, day_of(before))
    moving = RowMoving()
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM http_requests")
        while moving.work(old, 3_600):
            continue
        assert not moving.is_over
        assert moving.unmoved_bytes == 0
        assert rows_as_moved(old) == before
    while moving.work(old, 3_600):
        continue
    assert_moved(old, before)


def assert_moved(connection: psycopg.Connection, before: list[dict[str, Any]]) -> None:
    assert rows_as_moved(connection) == before
    found = connection.execute("SELECT DISTINCT tableoid::regclass::text FROM http_request_rows ORDER BY 1").fetchall()
    assert [name for (name,) in found] == [
        partition_name(day_of(before)),
        "http_request_rows_ahead",
        "http_request_rows_older",
    ]
    assert connection.execute("SELECT to_regclass('http_requests_before')").fetchone() == (None,)
    assert connection.execute(MAPPED.format("readable_rows").encode()).rowcount == ROWS


def test_servers_of_the_version_before_find_no_partition_to_make(old: psycopg.Connection, database_url: str) -> None:
    """Their queries, of storage/partitions.py as it was, which neither before nor after the move may fail."""
    migrate(old)
    for _ in range(2):
        (first_day,) = old.execute(FIRST_DAY_OF_OLDER_SERVERS).fetchone() or (None,)
        assert first_day is not None
        assert first_day.year == 9999
        assert old.execute(PARTITIONS_OF_OLDER_SERVERS).fetchall() == []
        while RowMoving().work(old, 3_600):
            continue
