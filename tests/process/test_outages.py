"""A database that goes down and comes back up: the server says so, and recovers without a restart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from storage.keys.api_keys import generate_raw_key
from storage.keys.snapshot import FILE as KEYS_FILE
from tests.batches import make_batch
from tests.grpc_client import SERVICE, ReflectingClient, Refusal
from tests.process.database import Database
from tests.process.embedded import new_folder
from tests.process.health import NOT_SERVING, SERVING, check_health
from tests.process.polling import wait_until
from tests.process.traffic import Traffic
from tests.running_server import Answer, RunningServer, start_server

pytestmark = pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")


@contextmanager
def start_with_database(data_folder: Path) -> Iterator[tuple[RunningServer, Database]]:
    with Database(new_folder(data_folder)) as database, start_server(database.url, "--spool", "off") as server:
        yield server, database


def test_probes_and_clients_are_told_of_an_outage_until_it_is_over(data_folder: Path) -> None:
    with start_with_database(data_folder) as (server, database), ThreadPoolExecutor() as executor:
        channel = server.channel()
        client = ReflectingClient(channel)
        key = {"x-seestack-key": server.api_key}
        assert server.post(make_batch(server.project_id, traceId="before")).status == 202
        assert server.request("GET", "/readyz").status == 200
        assert check_health(channel, SERVICE) == check_health(channel) == SERVING

        database.stop()
        batch = make_batch(server.project_id, traceId="during")
        over_http = executor.submit(server.post, batch)
        with_unknown_key = executor.submit(server.post, batch, X_SeeStack_Key=generate_raw_key())
        over_grpc = executor.submit(client.ingest, batch, key)
        wait_until(lambda: check_health(channel) == NOT_SERVING, "not ready over gRPC")
        assert check_health(channel, SERVICE) == NOT_SERVING
        assert_unavailable(server.request("GET", "/readyz"))
        assert server.request("GET", "/healthz").status == 200
        assert_unavailable(over_http.result())
        assert_unavailable(with_unknown_key.result())
        refusal = over_grpc.exception()
        assert isinstance(refusal, Refusal)
        assert refusal.status is grpc.StatusCode.UNAVAILABLE
        assert refusal.reason == "SERVICE_UNAVAILABLE"
        assert refusal.retry_after_s

        database.start()
        wait_until(lambda: server.request("GET", "/readyz").status == 200, "ready over HTTP")
        wait_until(lambda: check_health(channel) == SERVING, "ready over gRPC")
        assert check_health(channel, SERVICE) == SERVING
        batch = make_batch(server.project_id, traceId="after")
        assert server.post(batch).status == 202
        assert client.ingest(batch, key) == {"ok": True, "accepted": 1}
        assert [len(server.rows(trace)) for trace in ("before", "during", "after")] == [1, 0, 2]


def test_an_outage_under_load_loses_no_acknowledged_batch(data_folder: Path) -> None:
    with start_with_database(data_folder) as (server, database), Traffic(server) as traffic:
        traffic.wait_for_acknowledgements(10)
        database.stop()
        wait_until(lambda: traffic.refusals > 0, "batches are refused")
        database.start()
        traffic.wait_for_acknowledgements(10)
        traffic.assert_stored_whole(server.database_url)


def test_a_server_started_while_its_database_is_down_takes_batches(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    with Database(new_folder(data_folder)) as database:
        with start_server(database.url, "--data-dir", str(folder)) as server:
            assert server.post(make_batch(server.project_id, traceId="before")).status == 202
            wait_until((folder / KEYS_FILE).exists, "the keys are copied")
        database.stop()
        with start_server(
            database.url, "--data-dir", str(folder), key=(server.project_id, server.api_key)
        ) as restarted:
            assert restarted.post(make_batch(server.project_id, traceId="during")).status == 202
            assert_unavailable(restarted.post(make_batch(server.project_id), X_SeeStack_Key=generate_raw_key()))
            assert restarted.request("GET", "/readyz").json["spool"]["batches"] == 1
            assert restarted.stop() == 0
        with start_server(
            database.url, "--data-dir", str(folder), key=(server.project_id, server.api_key)
        ) as restarted:
            database.start()
            wait_until(
                lambda: restarted.request("GET", "/readyz").json["spool"]["batches"] == 0,
                "the spool is empty",
            )
            assert [len(restarted.rows(trace)) for trace in ("before", "during")] == [1, 1]


def test_a_server_whose_database_is_down_stops_cleanly(data_folder: Path) -> None:
    with start_with_database(data_folder) as (server, database):
        assert server.post(make_batch(server.project_id)).status == 202
        database.stop()
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503
    assert answer.json["success"] is False
    assert answer.json["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert int(answer.headers["retry-after"]) >= 1
