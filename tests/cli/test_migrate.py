"""`seestack-ingest migrate`."""

import psycopg

from storage.migrations import all_migrations
from tests.running_server import run_command


def test_the_first_run_applies_everything_and_the_second_nothing(empty_database_url: str) -> None:
    first = run_command("migrate", database_url=empty_database_url).stdout.splitlines()
    for migration in all_migrations():
        assert f"applied {migration.version:04d}_{migration.name}" in first
    assert all(line.startswith("applied ") for line in first)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM http_requests").fetchone() == (0,)
    second = run_command("migrate", database_url=empty_database_url).stdout.splitlines()
    assert second == ["nothing to do: the schema is up to date"]
