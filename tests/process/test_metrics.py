"""`GET /metrics`: the numbers are those of what clients did, whatever happens to the workers and to Postgres."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest

from server.compiled.encoder import is_chosen
from server.observability.metrics import POSITIONS, QUEUE_BATCHES, ROWS, Family
from server.processes.listeners import listen
from server.processes.signals import Flag
from server.processes.supervisor import Supervisor
from server.settings import Compiled, load_settings
from tests.batches import make_batch
from tests.grpc_client import ReflectingClient, Refusal
from tests.http.messages import head
from tests.http.raw_client import RawClient
from tests.process.database import Database
from tests.process.embedded import new_folder
from tests.process.open_stream import open_stream
from tests.process.polling import kill, live_workers, wait_until
from tests.process.scraping import get_page, scrape
from tests.process.table_lock import lock_table
from tests.process.test_work_in_flight import begin_call
from tests.process.traffic import BATCH_ROWS, CLIENTS_OF_EACH, HTTP, STREAM, STREAM_AHEAD, UNARY, Traffic
from tests.project.repository import ROOT
from tests.running_server import TWO_OF_EACH, RunningServer, start_server

LABELS = {HTTP: "http", UNARY: "grpc", STREAM: "grpc_stream"}
COUNTERS = ("_total", "_count", "_sum", "_bucket")
BRIEF_WORKER = "tests.process.brief_worker"
MODULES = {"http": "http_bridge", "grpc": "server.grpc.worker"}


def test_requests_of_each_protocol_are_counted_by_their_outcome(database_url: str) -> None:
    with start_server(database_url) as server:
        before = scrape(server)
        send_some_of_each_kind(server)
        changes = scrape(server) - before
    expected = {
        "requests_total accepted http": 2,
        "requests_total VALIDATION_ERROR http": 1,
        "requests_total MALFORMED_REQUEST http": 1,
        "requests_total INVALID_API_KEY http": 1,
        "requests_total METHOD_NOT_ALLOWED http": 1,
        "requests_total accepted grpc": 1,
        "requests_total INVALID_API_KEY grpc": 1,
        "requests_total accepted grpc_stream": 2,
        "requests_total VALIDATION_ERROR grpc_stream": 1,
        "requests_total INVALID_API_KEY grpc_stream": 1,
        "request_duration_seconds_count http": 6,
        "request_duration_seconds_count grpc": 2,
        "request_duration_seconds_count grpc_stream": 4,
        "rows_accepted_total http": 6,
        "rows_accepted_total grpc": 3,
        "rows_accepted_total grpc_stream": 6,
        "batches_refused_total host": 2,
        "batches_refused_total statusCode": 2,
        "flush_rows_sum": 15,
    }
    counted = ("requests_total", "request_duration_seconds_count", "rows_accepted_total", "batches_refused_total")
    measured = {name: change for name, change in changes.items() if name.startswith((*counted, "flush_rows_sum"))}
    assert measured == expected
    assert 0 < changes["request_duration_seconds_sum http"] < 60
    assert changes["flush_bytes_sum"] > 15 * 50
    assert changes["key_lookup_wait_seconds_count"] >= 2


def send_some_of_each_kind(server: RunningServer) -> None:
    """Send what is taken and what is refused, and what is no request for batches, over each protocol."""
    client, key = ReflectingClient(server.channel()), {"x-seestack-key": server.api_key}
    good, bad = make_batch(server.project_id, 3), make_batch(server.project_id, 2, host="", statusCode=99)
    for _ in range(2):
        assert server.post(good).status == 202
    assert server.post(bad).status == 422
    assert server.post(b"{").status == 400
    assert server.post(good, X_SeeStack_Key="wrong").status == 401
    assert server.request("GET", "/ingest/v1/http-requests").status == 405
    assert server.request("GET", "/healthz").status == 200
    assert client.ingest(good, key)["accepted"] == 3
    with pytest.raises(Refusal):
        client.ingest(good, {"x-seestack-key": "wrong"})
    assert len(client.stream([good, bad, good], key)) == 3
    with pytest.raises(Refusal):
        client.stream([good], {"x-seestack-key": "wrong"})


def test_counters_go_on_when_workers_are_killed(database_url: str) -> None:
    with start_server(database_url, *TWO_OF_EACH) as server:
        with Traffic(server) as traffic:
            traffic.wait_for_acknowledgements(10)
            before = scrape(server)
            kill([live_workers(server, module)[0] for module in MODULES.values()])
            wait_until(
                lambda: all(scrape(server).get("worker_restarts_total", kind=kind) == 1 for kind in MODULES),
                "workers are replaced",
            )
            traffic.wait_for_acknowledgements(10)
        after = scrape(server)
        assert all(change > 0 for name, change in (after - before).items() if name.split()[0].endswith(COUNTERS))
        for protocol, label in LABELS.items():
            acknowledged = len(traffic.acknowledged[protocol]) * BATCH_ROWS
            # A worker that is killed, and a stream that its client ends, have counted what nobody was told any more.
            untold = 2 * CLIENTS_OF_EACH[protocol] * STREAM_AHEAD * BATCH_ROWS
            assert acknowledged <= after.get("rows_accepted_total", protocol=label) <= acknowledged + untold
        assert sum(after.get("rows_accepted_total", protocol=label) for label in LABELS.values()) <= len(server.rows())
        assert [after.get("workers", kind=kind) for kind in MODULES] == [2, 2]

        with lock_table(database_url), ThreadPoolExecutor() as executor:
            waiting = executor.submit(server.post, make_batch(server.project_id))
            wait_until(lambda: scrape(server).get("write_queue_batches") == 1, "the batch waits")
            assert scrape(server).get("write_queue_bytes") > 0
            kill(live_workers(server, MODULES["http"]))
            assert isinstance(waiting.exception(), OSError)
            call = begin_call(server.channel(), server, make_batch(server.project_id))
            wait_until(lambda: scrape(server).get("write_queue_batches") == 1, "another batch waits")
            call.cancel()
            wait_until(
                lambda: scrape(server).get("requests_total", protocol="grpc", outcome="abandoned") >= 1,
                "a client did not wait",
            )


def test_clients_that_leave_and_workers_that_stop_are_no_failures(server: RunningServer) -> None:
    before = scrape(server)
    with RawClient(server.http_port) as client:
        client.send(head(server, "Content-Length: 100") + b"{")
        client.end()
        assert client.receive().status == 400
    with open_stream(server.channel(), server.api_key) as stream:
        stream.send(make_batch(server.project_id))
        assert stream.receive().accepted == 1
        for pid in live_workers(server, MODULES["grpc"]):
            os.kill(pid, signal.SIGTERM)
        assert stream.status is grpc.StatusCode.UNAVAILABLE
    ended = {name: change for name, change in (scrape(server) - before).items() if name.startswith("requests_total")}
    assert ended == {
        "requests_total abandoned http": 1,
        "requests_total accepted grpc_stream": 1,
        "requests_total grpc_stream stopped": 1,
    }


def test_a_worker_that_dies_leaves_its_counts_but_not_its_gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stop = Flag()
    with closing(listen("127.0.0.1", 0)) as listener:
        settings = load_settings(http_workers=1, grpc_workers=1, query_workers=0)
        supervisor = Supervisor(settings, listener, http_module=BRIEF_WORKER, grpc_module=BRIEF_WORKER)
        supervisor.start(Flag())
        watcher = threading.Thread(target=supervisor.watch, args=(stop, Flag()))
        watcher.start()
        try:
            wait_until(lambda: min(supervisor.restarts.values()) >= 1, "both were started again")
            # They are started after ever longer pauses.
            wait_until(lambda: total(supervisor, QUEUE_BATCHES) == 0, "the gauges are gone")
            stop.set()
            watcher.join()
            started = 2 + sum(supervisor.restarts.values())
            wait_until(lambda: total(supervisor, ROWS, "http") == started, "all have counted")
        finally:
            stop.set()
            watcher.join()
            supervisor.stop(Flag())


@pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")
def test_the_spool_is_seen_to_fill_and_to_empty(data_folder: Path) -> None:
    with Database(new_folder(data_folder)) as database, start_server(database.url) as server:
        assert server.post(make_batch(server.project_id)).status == 202
        assert scrape(server).get("spool_batches") == 0
        database.stop()
        for _ in range(3):
            assert server.post(make_batch(server.project_id, 5)).status == 202
        samples = scrape(server)
        assert (samples.get("spool_batches"), samples.get("spool_rows")) == (3, 15)
        assert samples.get("spool_bytes") > 0
        assert 0 < samples.get("spool_oldest_age_seconds") < 60
        assert 0 < samples.get("spool_stalled_seconds") < 60
        assert samples.get("spool_refused_batches") == 0
        assert samples.get("spool_drain_failures_total", cause="spool") == 0
        wait_until(lambda: scrape(server).get("spool_drain_failures_total", cause="database") > 0, "the drain fails")
        assert samples.get("flush_failures_total") >= 1
        assert samples.get("rows_accepted_total", protocol="http") == 16
        database.start()
        wait_until(lambda: scrape(server).get("spool_batches") == 0, "the spool is empty")
        assert scrape(server).get("spool_oldest_age_seconds") == 0


def test_metrics_are_on_their_own_port_only(server: RunningServer) -> None:
    assert get_page(server).headers["content-type"].startswith("text/plain; version=0.0.4")
    assert get_page(server, "/").status == 404
    assert server.request("GET", "/metrics").status == 404
    samples = scrape(server)
    assert samples.get("build_info", version=version("seestack-ingest")) == 1
    assert samples.get("compiled") == is_chosen(Compiled.AUTO)
    assert samples.get("process_start_time_seconds") > 1.7e9


def total(supervisor: Supervisor, family: Family, *labels: str) -> float:
    """Return the sum of a metric over all places for workers."""
    return sum(cells[POSITIONS[family.name][labels]] for cells in supervisor.cells)
