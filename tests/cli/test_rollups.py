"""`rollups status` and `rollups rebuild`, and a database that was restored into another cluster."""

import json
import random

import pytest

from server.database.rollup_upkeep import continue_transactions
from storage.database import connect
from storage.rollups.groups import Level, Span
from storage.rollups.rolling import Roller
from storage.rollups.state import read_state
from storage.rollups.summing import REFERENCE
from tests.running_server import run_command
from tests.storage.rollups.model import insert_random_rows, sums_of_rollups, sums_of_rows


def is_readable(url: str) -> bool:
    return bool(json.loads(run_command("rollups", "status", "--json", "--database-url", url).stdout)["isReadable"])


@pytest.mark.one_postgres("rollups are kept shard by shard there, see tests/citus")
def test_rebuilt_they_are_the_sums_over_the_rows(database_url: str) -> None:
    with connect(database_url) as connection:
        insert_random_rows(connection, random.Random(0), 50)
        assert not is_readable(database_url)
        assert "summed up 50 rows" in run_command("rollups", "rebuild", "--yes", "--database-url", database_url).stdout
        assert is_readable(database_url)
        status = json.loads(run_command("rollups", "status", "--json", "--database-url", database_url).stdout)
        assert not status["rollup_names"].endswith("about 0 rows")
        assert sums_of_rollups(connection, Span.DAY, Level.HOST) or sums_of_rollups(connection, Span.MINUTE, Level.HOST)


@pytest.mark.one_postgres("rollups are kept shard by shard there, see tests/citus")
def test_after_a_restore_into_another_cluster_transactions_count_on(database_url: str) -> None:
    with connect(database_url) as connection:
        insert_random_rows(connection, random.Random(1), 20)
        # As if those had been numbers of a cluster with many more transactions.
        connection.execute("UPDATE http_request_rows SET transaction = transaction + 5000000000")
        connection.execute("UPDATE rollup_state SET cluster = 1, mark = 4000000000")
        assert Roller(REFERENCE).roll(connection) is None
        continue_transactions(connection)
        continue_transactions(connection)
        insert_random_rows(connection, random.Random(2), 30)
        roller, rows = Roller(REFERENCE), 0
        while (done := roller.roll(connection)) is not None and done.is_behind:
            rows += done.rows
        assert rows + (done.rows if done else 0) == 50
        state = read_state(connection)
        assert state.is_readable
        assert state.mark > 5_000_000_000
        assert sums_of_rows(connection, Span.HOUR, Level.PROJECT)
