"""The server works on rows after they were stored, and goes on after it lost its connection."""

from datetime import timedelta

import pytest

from server.database import later_work
from server.database.later_work import LaterWork
from server.database.retention import Retention
from storage.database import connect
from storage.migrations import migrate
from storage.partitions import ensure_partitions, partition_name
from tests.process.polling import wait_until
from tests.storage.day_rows import TODAY, insert_day_rows
from tests.storage.priorities import assert_gives_way

pytestmark = pytest.mark.one_postgres("it is done shard by shard there, see tests/citus")

DAYS_OVER = (TODAY - timedelta(days=3), TODAY - timedelta(days=2))

_BACKEND = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'seestack-ingest later work'
"""
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
 WHERE pid <> pg_backend_pid() AND datname = current_database()
"""


def test_days_that_are_over_are_closed_also_after_the_connection_was_lost(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(later_work, "INTERVAL_S", 0.01)
    monkeypatch.setattr(later_work, "CLOSING_INTERVAL_S", 0.01)
    monkeypatch.setattr(later_work, "RETRY_INTERVAL_S", 0.01)
    caplog.set_level("INFO")
    with connect(database_url) as connection:
        migrate(connection)
        ensure_partitions(connection, TODAY)
        running = LaterWork(database_url, Retention(None))
        try:
            for day in DAYS_OVER:
                insert_day_rows(connection, day, 1)
                closed = f"closed {partition_name(day)}"
                wait_until(lambda: closed in caplog.text, "the day is closed")  # noqa: B023 - called at once
                (backend,) = connection.execute(_BACKEND).fetchone() or (0,)
                assert_gives_way(backend)
                connection.execute(_END_OTHERS.encode())
        finally:
            running.stop()
