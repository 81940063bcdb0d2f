"""Rows that were stored before `http_request_rows` was made, and what older servers and their spools send."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

import storage.migrations
from storage.database import connect
from storage.migrations import all_migrations, migrate
from tests.storage.rows import rows_by_id

OLD = [migration for migration in all_migrations() if migration.version < 7]
OF_TODAY = """
CREATE TABLE http_requests_today PARTITION OF http_requests
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
SELECT = "SELECT * FROM http_requests ORDER BY id"
MAPPED = """
SELECT project, "timestamp", duration_ms, request_size, response_size, status_code, is_inbound, trace_is_dashed, trace,
       method, host, path, other_trace, user_id, error_fingerprint, long_duration_ms, long_request_size,
       long_response_size FROM {} ORDER BY id
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
        connection.execute(OF_TODAY)
        connection.execute("INSERT INTO projects (id, name) VALUES (%s, 'shop')", (project,))
        connection.execute(INSERT, {"project": project, "rows": ROWS})
        yield connection


def test_the_view_shows_what_the_table_held(old: psycopg.Connection) -> None:
    before = rows_by_id(old)
    assert len(before) == ROWS
    migrate(old)
    assert rows_by_id(old) == before


def test_what_is_stored_through_the_view_is_stored_as_rows(old: psycopg.Connection, project: UUID) -> None:
    migrate(old)
    unmoved = old.execute(MAPPED.format("readable_rows").encode()).fetchall()
    before = rows_by_id(old)
    old.execute("CREATE TEMPORARY TABLE sent AS SELECT * FROM http_requests_before")
    old.execute("TRUNCATE http_requests_before")
    old.execute("INSERT INTO http_requests SELECT * FROM sent")
    assert old.execute(MAPPED.format("http_request_rows").encode()).fetchall() == unmoved
    stored = rows_by_id(old)
    for row in (*stored, *before):
        del row["received_at"]  # is in the id
    assert stored == before


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
