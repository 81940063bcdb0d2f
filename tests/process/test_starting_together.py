"""Servers that start at the same moment on the same empty database."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from storage.migrations import all_migrations
from tests.batches import make_batch
from tests.process.embedded import launch, new_folder, postmaster_pid
from tests.process.polling import wait_until
from tests.running_server import START_TIMEOUT_S, create_key, start_server

_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def test_two_servers_on_one_empty_database_both_serve(empty_database_url: str) -> None:
    with ExitStack() as stack, ThreadPoolExecutor() as executor:
        contexts = [start_server(empty_database_url, key=("", "")) for _ in range(2)]
        with psycopg.connect(empty_database_url) as obstacle:
            # Both come as far as this table, and go on at the same moment.
            obstacle.execute("CREATE TABLE schema_migrations ()")
            starting = [executor.submit(stack.enter_context, context) for context in contexts]
            wait_until(lambda: count_waiting(empty_database_url) == 2, "both servers wait", START_TIMEOUT_S)
            obstacle.rollback()
        servers = [start.result() for start in starting]
        project_id, api_key = create_key(empty_database_url)
        for server in servers:
            server.project_id, server.api_key = project_id, api_key
            assert server.post(make_batch(project_id, traceId="together")).status == 202
        assert len(servers[0].rows("together")) == 2
        with psycopg.connect(empty_database_url) as connection:
            versions = connection.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
        assert versions == [(migration.version,) for migration in all_migrations()]


@pytest.mark.one_postgres("the embedded Postgres")
def test_two_servers_on_one_empty_data_folder_share_postgres_and_key(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    with launch(folder) as first_launched, launch(folder) as second_launched:
        first = first_launched.wait_until_it_serves()
        second = second_launched.wait_until_it_serves()
        assert (first.project_id, first.api_key) == (second.project_id, second.api_key)
        for server in (first, second):
            assert server.post(make_batch(server.project_id, traceId="together")).status == 202
        with psycopg.connect(first.database_url) as connection:
            assert connection.execute("SELECT count(*) FROM projects").fetchone() == (1,)
            scopes = connection.execute("SELECT scope FROM api_keys ORDER BY scope").fetchall()
        assert scopes == [("ingest",), ("read",)]

        assert first.stop() == 0
        assert second.post(make_batch(second.project_id, traceId="together")).status == 202
        assert len(second.rows("together")) == 3
        assert second.stop() == 0
        assert postmaster_pid(folder) is None


def count_waiting(database_url: str) -> int:
    """Return how many connections of a database wait for a lock."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(_WAITING).fetchone()
    return row[0] if row else 0
