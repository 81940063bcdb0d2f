"""Requests that hang because the table is locked: what a stop, a deadline and a cancelled call do to them."""

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict

from seestack.ingest.v1.ingest_pb2 import IngestHttpRequestsRequest
from seestack.ingest.v1.ingest_pb2_grpc import IngestServiceStub
from tests.batches import make_batch
from tests.grpc_client import ReflectingClient, Refusal
from tests.patience import PATIENCE_S
from tests.process.health import check_health
from tests.process.open_stream import open_stream
from tests.process.polling import refuses_connections, wait_until
from tests.process.scraping import scrape
from tests.process.table_lock import lock_table
from tests.running_server import STOP_TIMEOUT_S, RunningServer, start_server

LATE_S = 3.0


def test_work_in_flight_at_a_stop_is_finished(database_url: str) -> None:
    with (
        start_server(database_url, "--grace-seconds", "60") as server,
        ThreadPoolExecutor() as executor,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        open_stream(channel, server.api_key) as stream,
    ):
        with lock_table(database_url) as lock:
            stream.send(make_batch(server.project_id, 3, traceId="stream"))
            lock.wait_for_writers(1)
            over_grpc = begin_call(channel, server, make_batch(server.project_id, 3, traceId="grpc"))
            # What is answered later on the same connection shows that the call has arrived.
            check_health(channel)
            over_http = executor.submit(server.post, make_batch(server.project_id, 3, traceId="http"))
            lock.wait_for_writers(2)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses_connections(server.http_port), "no new requests are taken")
            assert server.process.poll() is None
            assert not over_http.done()
            assert not over_grpc.done()
            lock.release()
        assert over_http.result().status == 202
        assert over_grpc.result().accepted == 3
        assert stream.receive().accepted == 3
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert [len(server.rows(trace)) for trace in ("http", "grpc", "stream")] == [3, 3, 3]
        assert "Traceback" not in server.log.read_text()


def test_a_second_signal_ends_a_server_whose_requests_hang(database_url: str) -> None:
    with start_server(database_url, "--grace-seconds", "600") as server, ThreadPoolExecutor() as executor:
        client = ReflectingClient(server.channel())
        key = {"x-seestack-key": server.api_key}
        with lock_table(database_url) as lock:
            over_http = executor.submit(server.post, make_batch(server.project_id))
            over_grpc = executor.submit(client.ingest, make_batch(server.project_id), key)
            lock.wait_for_writers(2)
            server.process.send_signal(signal.SIGINT)
            wait_until(lambda: refuses_connections(server.http_port), "no new requests are taken")
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGINT)
            server.process.wait(STOP_TIMEOUT_S)
        assert isinstance(over_http.exception(), OSError)
        assert isinstance(over_grpc.exception(), Refusal)
        assert "Traceback" not in server.log.read_text()


def test_a_call_past_its_deadline_ends_and_a_later_one_works(server: RunningServer) -> None:
    client = ReflectingClient(server.channel())
    key = {"x-seestack-key": server.api_key}
    late = make_batch(server.project_id, 3)
    with lock_table(server.database_url) as lock, ThreadPoolExecutor() as executor:
        call = executor.submit(client.ingest, late, key, LATE_S)
        lock.wait_for_writers()
        refusal = call.exception()
    assert isinstance(refusal, Refusal)
    assert refusal.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.ingest(make_batch(server.project_id, 2), key) == {"ok": True, "accepted": 2}
    assert len([row for item in late["requests"] for row in server.rows(item["traceId"])]) in (0, 3)


def test_a_batch_whose_caller_is_gone_before_its_turn_is_not_stored(database_url: str) -> None:
    with start_server(database_url) as server, ThreadPoolExecutor() as executor:
        client = ReflectingClient(server.channel())
        key = {"x-seestack-key": server.api_key}
        late = make_batch(server.project_id)
        with lock_table(server.database_url) as lock:
            # It keeps the only writer busy, so that another call has to queue.
            busy = executor.submit(client.ingest, make_batch(server.project_id), key)
            lock.wait_for_writers()
            call = begin_call(server.channel(), server, late)
            wait_until(lambda: scrape(server).get("write_queue_batches") == 2, "the call has arrived")
            call.cancel()
            wait_until(lambda: has_abandoned_call(server), "the server knows that the caller is gone")
            lock.release()
        assert busy.result() == {"ok": True, "accepted": 1}
        client.ingest(make_batch(server.project_id), key)
        assert server.rows(late["requests"][0]["traceId"]) == []


def test_a_client_that_cancels_disturbs_no_other(server: RunningServer) -> None:
    channel = server.channel()
    with lock_table(server.database_url) as lock:
        traces = [f"cancelling-{server.http_port}-{number}" for number in range(6)]
        calls = [begin_call(channel, server, make_batch(server.project_id, 2, traceId=trace)) for trace in traces]
        lock.wait_for_writers()
        for call in calls[::2]:
            call.cancel()
        lock.release()
    assert [call.result().accepted for call in calls[1::2]] == [2, 2, 2]
    assert all(call.cancelled() for call in calls[::2])
    counts = [len(server.rows(trace)) for trace in traces]
    assert counts[1::2] == [2, 2, 2]
    assert set(counts[::2]) <= {0, 2}


def has_abandoned_call(server: RunningServer) -> bool:
    return scrape(server).get("requests_total", protocol="grpc", outcome="abandoned") == 1


def begin_call(channel: grpc.Channel, server: RunningServer, batch: dict[str, Any]) -> Any:
    """Send a batch to the unary method, and return the call without waiting for its answer."""
    request = ParseDict(batch, IngestHttpRequestsRequest())
    metadata = (("x-seestack-key", server.api_key),)
    return IngestServiceStub(channel).IngestHttpRequests.future(request, metadata=metadata, timeout=PATIENCE_S)
