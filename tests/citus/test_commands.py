"""Commands that look at all rows, or delete some, of a database that Citus distributes."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from storage.distribution.usage import describe_everywhere
from storage.usage import describe_database
from tests.batches import make_item
from tests.citus.cluster import Cluster
from tests.citus.conftest import PROJECTS
from tests.citus.sending import Sender, is_summed_up, make_senders
from tests.process.polling import wait_until
from tests.running_server import RunningServer, run_command

NOW = datetime.now(UTC)
TIMES = (NOW, NOW - timedelta(days=5), datetime(1999, 1, 1, tzinfo=UTC))


@pytest.fixture
def filled_server(distributed_server: RunningServer) -> tuple[RunningServer, list[Sender]]:
    """The shared server, with new projects that have a row of each time in the rollups."""
    senders = make_senders(distributed_server, PROJECTS)
    for sender in senders:
        items = [make_item(timestamp=moment.isoformat()) for moment in TIMES]
        body = {"projectId": sender.project_id, "requests": items}
        assert distributed_server.post(body, X_SeeStack_Key=sender.api_key).status == 202
    for sender in senders:
        wait_until(partial(is_summed_up, distributed_server, sender), "the rollups have all rows")
    return distributed_server, senders


def run(server: RunningServer, *arguments: str) -> Any:
    return json.loads(run_command(*arguments, "--json", database_url=server.database_url).stdout)


def rows_of(server: RunningServer, senders: list[Sender]) -> list[int]:
    rows = {each["projectId"]: each["rows"] for each in run(server, "data", "usage")["projects"]}
    return [rows.get(sender.project_id, 0) for sender in senders]


def test_rows_of_all_shards_are_counted_pruned_and_deleted(filled_server: tuple[RunningServer, list[Sender]]) -> None:
    server, senders = filled_server
    usage = run(server, "data", "usage")
    days = {day["day"]: day["rows"] for day in usage["days"] if day["rows"]}
    assert usage["bytes"] == sum(day["bytes"] for day in usage["days"]) > 0
    assert min(days[f"{NOW.date()}"], days["other days"]) >= PROJECTS
    assert rows_of(server, senders) == [3] * PROJECTS
    shown = run(server, "data", "prune", "--older-than", "3d")
    assert sum(each["rows"] for each in shown["partitions"]) >= 2 * PROJECTS
    assert run(server, "data", "prune", "--older-than", "3d", "--yes")["partitions"] == shown["partitions"]
    assert rows_of(server, senders) == [1] * PROJECTS
    assert run(server, "projects", "delete", senders[0].project_id, "--yes")["rows"] == 1
    assert rows_of(server, senders) == [0] + [1] * (PROJECTS - 1)


def test_rollups_of_all_shards_are_told_of_and_made_again(filled_server: tuple[RunningServer, list[Sender]]) -> None:
    server, senders = filled_server
    status = run(server, "rollups", "status")
    assert status["isReadable"]
    assert status["rollup_minutes"] != "0 bytes, about 0 rows"
    output = run_command("rollups", "rebuild", "--yes", database_url=server.database_url).stdout
    assert "all rows are summed up" in output
    assert run(server, "rollups", "status")["isReadable"]
    assert all(is_summed_up(server, sender) for sender in senders)


def test_the_size_of_a_database_is_that_of_all_nodes(distributed_server: RunningServer, citus: Cluster) -> None:
    name = citus.name_of(distributed_server.database_url)
    least = 0
    for node in (citus.coordinator, *citus.nodes):
        with psycopg.connect(node.url(name)) as connection:
            least += describe_database(connection).size_bytes
    with psycopg.connect(distributed_server.database_url) as connection:
        described = describe_everywhere(connection)
    assert described.size_bytes >= least
    assert described.connections > len(citus.nodes)
