"""SIGHUP: the workers are replaced one after the other, and nobody who sends meanwhile notices."""

import http.client
import json
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from google.protobuf.json_format import ParseDict

from seestack.ingest.v1.ingest_pb2 import IngestHttpRequestsRequest
from seestack.ingest.v1.ingest_pb2_grpc import IngestServiceStub
from tests.batches import make_batch
from tests.certificates import Authority
from tests.process.health import SERVING, check_health
from tests.process.polling import children_of, live_workers, wait_until
from tests.process.traffic import HTTP, STREAM, UNARY, Traffic
from tests.running_server import INGEST_PATH, STOP_TIMEOUT_S, RunningServer, start_server

REPLACED_WITHIN_S = 60
TIMEOUT_S = 30
CALLS_UNDERWAY = 16
ONE_OF_EACH = ("--http-workers", "1", "--grpc-workers", "1", "--grpc-connection-seconds", "1")

Client: TypeAlias = Callable[[RunningServer, threading.Event, list[str]], None]


def hang_up(server: RunningServer) -> None:
    server.process.send_signal(signal.SIGHUP)


def wait_for_log(server: RunningServer, text: str, count: int = 1) -> None:
    wait_until(lambda: server.log.read_text().count(text) >= count, f"the log says: {text}", REPLACED_WITHIN_S)


@contextmanager
def sending(send: Client, server: RunningServer) -> Iterator[list[str]]:
    """Run a client in a thread until the end, and yield its list of what went wrong."""
    failures: list[str] = []
    stopped = threading.Event()
    thread = threading.Thread(target=send, args=(server, stopped, failures))
    thread.start()
    try:
        yield failures
    finally:
        stopped.set()
        thread.join()


def send_over_one_connection(server: RunningServer, stopped: threading.Event, failures: list[str]) -> None:
    """Send over HTTP, on the same connection for as long as the server lets it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json", "X-SeeStack-Key": server.api_key}
    body = json.dumps(make_batch(server.project_id))
    while not stopped.wait(0.005):
        try:
            connection.request("POST", INGEST_PATH, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            failures.append(repr(error))
            connection.close()
        else:
            if answer.status != 202:
                failures.append(str(answer.status))
    connection.close()


def send_without_pause(server: RunningServer, stopped: threading.Event, failures: list[str]) -> None:
    """Keep several unary calls under way on one channel, so that some are on their way whenever it is closed."""
    request = ParseDict(make_batch(server.project_id), IngestHttpRequestsRequest())
    metadata = (("x-seestack-key", server.api_key),)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = IngestServiceStub(channel).IngestHttpRequests
        underway: deque[Any] = deque()
        while not stopped.is_set() or underway:
            while len(underway) < CALLS_UNDERWAY and not stopped.is_set():
                underway.append(call.future(request, metadata=metadata, timeout=TIMEOUT_S))
            try:
                underway.popleft().result()
            except grpc.RpcError as error:
                failures.append(str(error))


def test_no_request_fails_while_all_workers_are_replaced(database_url: str) -> None:
    with start_server(database_url, *ONE_OF_EACH) as server:
        before = children_of(server.process.pid)
        with (
            Traffic(server) as traffic,
            sending(send_over_one_connection, server) as http_failures,
            sending(send_without_pause, server) as grpc_failures,
        ):
            traffic.wait_for_acknowledgements(10)
            hang_up(server)
            wait_for_log(server, "all workers are replaced")
            traffic.wait_for_acknowledgements(10)
        assert not set(before) & set(children_of(server.process.pid))
        assert len(children_of(server.process.pid)) == 2
        log = server.log.read_text()
        assert not [word for word in ("Traceback", "ERROR", "is killed", "started again") if word in log]
        traffic.assert_stored_whole(database_url)
    assert http_failures + grpc_failures + traffic.failures[HTTP] + traffic.failures[UNARY] == []
    # A stream cannot move to another worker: it ends in order, and its client opens another one.
    assert set(traffic.failures[STREAM]) == {"UNAVAILABLE"}


def test_a_new_worker_that_does_not_come_up_replaces_nobody(tmp_path: Path, database_url: str) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    flags = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with start_server(database_url, *ONE_OF_EACH, *flags) as server:
        before = set(children_of(server.process.pid))
        certificate.write_text("rubbish")
        hang_up(server)
        wait_for_log(server, "rolling restart ended: a new http_bridge worker ended while starting")
        assert set(children_of(server.process.pid)) == before
        assert server.process.poll() is None


def test_hanging_up_at_any_time_is_harmless(database_url: str) -> None:
    with start_server(database_url, *ONE_OF_EACH) as server:
        (first,) = live_workers(server, "http_bridge")
        hang_up(server)
        wait_until(lambda: first not in live_workers(server, "http_bridge"), "a worker is replaced", REPLACED_WITHIN_S)
        hang_up(server)
        wait_for_log(server, "the workers are replaced one after the other", 2)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            assert check_health(channel) == SERVING
            assert server.post(make_batch(server.project_id)).status == 202
        server.process.send_signal(signal.SIGTERM)
        hang_up(server)
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert children_of(server.process.pid) == []
        assert "Traceback" not in server.log.read_text()
