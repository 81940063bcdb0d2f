"""A spool belongs to its database: what was acknowledged for one never gets into another."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batches import make_batch
from tests.process.database import Database
from tests.process.embedded import new_folder
from tests.process.polling import wait_until
from tests.running_server import RunningServer, create_key, fail_to_start, run_command, start_server


def wait_for_empty_spool(server: RunningServer) -> None:
    wait_until(lambda: server.request("GET", "/readyz").json["spool"]["batches"] == 0, "the spool is empty")


@pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")
def test_batches_for_a_database_that_is_down_do_not_get_into_another(
    data_folder: Path, tmp_path: Path, create_database: Callable[[], str]
) -> None:
    other_url = create_database()
    folder = ("--data-dir", str(tmp_path))
    with Database(new_folder(data_folder)) as database:
        key = create_key(database.url)
        with start_server(database.url, *folder, key=key) as server:
            assert server.post(make_batch(server.project_id, traceId="before")).status == 202
            database.stop()
            assert server.post(make_batch(server.project_id, traceId="during")).status == 202
        with start_server(other_url, *folder) as other:
            assert other.post(make_batch(other.project_id, traceId="other")).status == 202
            wait_for_empty_spool(other)
            assert "1 batches in" in other.log.read_text()
            assert "another database" in other.log.read_text()
            assert [row["trace_id"] for row in other.rows()] == ["other"]
            # The keys of the one are none of the other.
            assert other.post(make_batch(key[0]), X_SeeStack_Key=key[1]).status == 401
        spools = json.loads(run_command("spool", "status", "--json", *folder).stdout)
        assert [spool["batches"] for spool in spools] == [1, 0]
        assert len({spool["databaseId"] for spool in spools}) == 2
        checked = run_command("check", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", *folder,
                              database_url=other_url)  # fmt: skip
        assert "another database" in checked.stdout
        # The one is still away, and its own keys are still known.
        with start_server(database.url, *folder, key=key) as server:
            assert server.post(make_batch(server.project_id, traceId="still")).status == 202
            database.start()
            wait_for_empty_spool(server)
            assert sorted(row["trace_id"] for row in server.rows()) == ["before", "during", "still"]


@pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")
def test_a_server_does_not_start_on_a_database_that_it_never_reached(data_folder: Path, tmp_path: Path) -> None:
    with Database(new_folder(data_folder)) as database, start_server(database.url, "--data-dir", str(tmp_path)):
        pass
    elsewhere = "postgresql://postgres@127.0.0.1:9/elsewhere"
    assert "cannot connect to the database" in fail_to_start(elsewhere, "--data-dir", str(tmp_path))
