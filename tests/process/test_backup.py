"""Beside a backup, which holds ACCESS SHARE on every table from its begin to its end as pg_dump does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from storage.database import connect
from storage.partitions import DAYS_AHEAD, partition_name
from tests.batches import make_batch
from tests.cli.failing import fail_command
from tests.process.polling import wait_until
from tests.process.scraping import scrape
from tests.running_server import create_key, run_command, start_server

_TABLES = """
SELECT format('LOCK TABLE %I IN ACCESS SHARE MODE', relname) FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""
WAITS = "has to wait for another transaction"


@contextmanager
def backup(url: str) -> Iterator[Callable[[], None]]:
    """Hold the locks until the end, or a call of what is yielded."""
    with psycopg.connect(url) as connection:
        for (lock,) in connection.execute(_TABLES).fetchall():
            connection.execute(lock)
        yield connection.rollback


def make_due(url: str) -> str:
    """Remove the partition of the last day that has one, and return its name."""
    name = partition_name((datetime.now(UTC) + timedelta(days=DAYS_AHEAD)).date())
    with connect(url) as connection:
        connection.execute(f"DROP TABLE {name}".encode())
    return name


def exists(url: str, name: str) -> bool:
    with connect(url) as connection:
        return connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone() == (True,)


def test_a_server_starts_and_stores_and_makes_the_partition_afterwards(database_url: str) -> None:
    key = create_key(database_url)
    due = make_due(database_url)
    of_that_day = f"{due[-8:-4]}-{due[-4:-2]}-{due[-2:]}T12:00:00Z"
    with backup(database_url) as end, start_server(database_url, key=key) as server:
        assert run_command("keys", "list", database_url=database_url).stdout
        assert "a partition has to wait" in fail_command("migrate", database_url=database_url).line
        assert server.post(make_batch(server.project_id, traceId="now")).status == 202
        assert server.post(make_batch(server.project_id, traceId="due", timestamp=of_that_day)).status == 202
        assert len(server.rows("now")) == len(server.rows("due")) == 1
        assert scrape(server).get("missing_partitions") == 1
        assert not exists(database_url, due)
        end()
        wait_until(lambda: exists(database_url, due), "the partition is made")
        wait_until(lambda: scrape(server).get("missing_partitions") == 0, "the metric follows")
        assert len(server.rows("due")) == 1
        log = server.log.read_text()
    assert log.count(WAITS) == 1
    assert f"made {due}" in log


def test_commands_lock_no_table_that_is_written_to(database_url: str) -> None:
    create_key(database_url)
    make_due(database_url)
    with psycopg.connect(database_url) as connection:
        # Whoever would change the schema or make a partition waits for this one.
        connection.execute("LOCK TABLE http_request_rows, schema_migrations IN SHARE UPDATE EXCLUSIVE MODE")
        assert run_command("projects", "create", "shop", database_url=database_url).stdout
        assert run_command("keys", "create", "--project", "shop", database_url=database_url).stdout
