"""What keeps rollups beside others: a server that dies while it sums up rows, and writers, who go first."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import psycopg
import pytest

from server.database.rollup_upkeep import RollupUpkeep
from storage.priority import NICE
from storage.rollups.summing import REFERENCE
from tests.process.polling import wait_until
from tests.storage.priorities import assert_gives_way
from tests.storage.rollups.model import insert_random_rows
from tests.storage.rollups.test_rolling import assert_exact, reached_end

pytestmark = pytest.mark.one_postgres("rollups are kept shard by shard there, see tests/citus")

WITHIN_S = 10.0
BACKEND = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'seestack-ingest rollups'
"""
HOLD_LOCK = """
import sys, time
from storage.database import connect
from storage.rollups.state import lock_state
with connect(sys.argv[1]) as connection, connection.transaction():
    assert lock_state(connection) is not None
    print(flush=True)
    time.sleep(600)
"""


def test_a_server_that_dies_hands_over_within_ten_seconds(connection: psycopg.Connection, migrated_url: str) -> None:
    insert_random_rows(connection, random.Random(0), 50)
    with subprocess.Popen([sys.executable, "-c", HOLD_LOCK, migrated_url], stdout=subprocess.PIPE) as dying:
        assert dying.stdout is not None
        dying.stdout.readline()
        other = RollupUpkeep(migrated_url, REFERENCE, None)
        try:
            wait_until(lambda: other.figures.lag_transactions > 0, "the other server waits")
            assert not reached_end(connection)
            dying.send_signal(signal.SIGKILL)
            died_at = time.monotonic()
            wait_until(lambda: reached_end(connection), "the other server goes on")
            assert time.monotonic() - died_at < WITHIN_S
        finally:
            other.stop()
            dying.kill()
    assert_exact(connection)


def test_rollups_give_way_to_writers(connection: psycopg.Connection, migrated_url: str) -> None:
    insert_random_rows(connection, random.Random(0), 50)
    upkeep = RollupUpkeep(migrated_url, REFERENCE, None)
    try:
        wait_until(lambda: reached_end(connection), "a pass is made")
        (backend,) = connection.execute(BACKEND).fetchone() or (0,)
        (summing,) = (thread.native_id for thread in threading.enumerate() if thread.name == "rollups")
        assert summing is not None
        assert os.getpriority(os.PRIO_PROCESS, summing) == NICE
        assert_gives_way(backend)
    finally:
        upkeep.stop()
