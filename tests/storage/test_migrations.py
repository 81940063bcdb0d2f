"""The schema's history on real databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

import storage.migrations
from storage.database import connect
from storage.errors import SchemaError
from storage.migrations import Migration, all_migrations, migrate
from tests.process.polling import wait_until
from tests.storage.defaults import set_default
from tests.storage.waiting import run_at_once

ALL = all_migrations()
TABLES = {"projects", "api_keys", "http_request_rows", "http_request_rows_older", "http_request_rows_ahead"}


def table_names(connection: psycopg.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")} | {
        name for (name,) in connection.execute("SELECT relname FROM pg_class WHERE relkind = 'p'")
    }


def history(connection: psycopg.Connection) -> list[tuple[int, str, str]]:
    rows = connection.execute("SELECT version, name, sha256 FROM schema_migrations ORDER BY version").fetchall()
    return [(version, name, sha256) for version, name, sha256 in rows]


def test_versions_count_up_from_one_without_a_gap() -> None:
    versions = [migration.version for migration in all_migrations()]
    assert versions == list(range(1, len(versions) + 1))


def test_a_fresh_database_gets_all_migrations(database_url: str) -> None:
    with connect(database_url) as connection:
        assert migrate(connection) == all_migrations()
        assert history(connection) == [(item.version, item.name, item.sha256) for item in all_migrations()]
        assert table_names(connection) >= TABLES
        assert not {name for name in table_names(connection) if name.startswith("http_requests")}


def test_a_second_run_does_nothing(database_url: str) -> None:
    with connect(database_url) as connection:
        migrate(connection)
        before = connection.execute("SELECT * FROM schema_migrations").fetchall()
        assert migrate(connection) == []
        assert connection.execute("SELECT * FROM schema_migrations").fetchall() == before


def test_of_many_runs_at_once_one_applies_and_none_fails(database_url: str) -> None:
    def run() -> int:
        with connect(database_url) as connection:
            return len(migrate(connection))

    applied = run_at_once(12, run)
    assert sorted(applied) == [0] * 11 + [len(all_migrations())]
    with connect(database_url) as connection:
        assert len(history(connection)) == len(all_migrations())


def test_an_edited_migration_is_refused_and_changes_nothing(migrated_url: str) -> None:
    with connect(migrated_url) as connection:
        connection.execute("UPDATE schema_migrations SET sha256 = repeat('0', 64) WHERE version = 1")
        before = history(connection)
        with pytest.raises(SchemaError, match=r"migration 1 \(initial\)"):
            migrate(connection)
        assert history(connection) == before


def test_a_database_ahead_of_this_version_is_left_alone(migrated_url: str) -> None:
    with connect(migrated_url) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'from_the_future', 'unknown')")
        before = history(connection)
        assert migrate(connection) == []
        assert history(connection) == before


def test_a_migration_that_fails_leaves_nothing_behind(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("CREATE TABLE http_request_rows_older ()")
        with pytest.raises(psycopg.errors.DuplicateTable):
            migrate(connection)
        assert table_names(connection) == {"http_request_rows_older"}
        connection.execute("DROP TABLE http_request_rows_older")
        assert migrate(connection) == all_migrations()


def test_the_first_day_begins_at_midnight_utc_even_if_the_clocks_changed_this_week(database_url: str) -> None:
    summer_begins = (datetime.now(UTC) - timedelta(days=3)).timetuple().tm_yday - 1
    summer_ends = (summer_begins + 180) % 365
    set_default(database_url, "timezone", f"WINTER5SUMMER,{summer_begins},{summer_ends}")
    with psycopg.connect(database_url) as connection:
        changed = connection.execute("SELECT now() - interval '7 days' <> now() - interval '168 hours'").fetchone()
        assert changed == (True,)
    with connect(database_url) as connection:
        migrate(connection)
        connection.execute("SET timezone = 'UTC'")
        (bound,) = connection.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'http_request_rows_older'"
        ).fetchone() or ("",)
    assert " 00:00:00+00" in bound


def test_a_migration_that_has_to_wait_for_a_table_holds_up_nobody_for_long(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Migration(len(ALL) + 1, "change", "ALTER TABLE projects ADD COLUMN colour text")
    monkeypatch.setattr(storage.migrations, "all_migrations", lambda: [*ALL, change])
    monkeypatch.setattr(storage.migrations, "LOCK_TIMEOUT", "200ms")
    monkeypatch.setattr(storage.migrations, "PAUSE_S", 0.2)
    with connect(migrated_url) as migrating, connect(migrated_url) as writer, ThreadPoolExecutor() as executor:
        with psycopg.connect(migrated_url) as reader:
            reader.execute("SELECT count(*) FROM projects")
            applied = executor.submit(migrate, migrating)
            wait_until(lambda: is_waiting(writer), "the migration waits for the reader")
            writer.execute("SET statement_timeout = '60s'")
            writer.execute("INSERT INTO projects (name) VALUES ('stored meanwhile')")
            assert not applied.done()
        assert applied.result() == [change]


def test_a_table_that_is_never_let_go_of_is_explained(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change = Migration(len(ALL) + 1, "change", "ALTER TABLE projects ADD COLUMN colour text")
    monkeypatch.setattr(storage.migrations, "all_migrations", lambda: [*ALL, change])
    for name, value in {"LOCK_TIMEOUT": "10ms", "PAUSE_S": 0.01, "ATTEMPTS": 3}.items():
        monkeypatch.setattr(storage.migrations, name, value)
    with connect(migrated_url) as migrating, psycopg.connect(migrated_url) as reader:
        reader.execute("SELECT count(*) FROM projects")
        with pytest.raises(SchemaError, match="long transactions"):
            migrate(migrating)
        assert len(history(migrating)) == len(ALL)


def is_waiting(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return row is not None and row[0] > 0
