"""Clients of both protocols that send at once and remember which batches the server acknowledged."""

import http.client
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import grpc
import psycopg
from google.protobuf.json_format import ParseDict

from seestack.ingest.v1.ingest_pb2 import IngestHttpRequestsRequest
from seestack.ingest.v1.ingest_pb2_grpc import IngestServiceStub
from tests.batches import make_batch
from tests.patience import PATIENCE_S
from tests.process.open_stream import OpenStream, open_stream
from tests.process.polling import wait_until
from tests.running_server import RunningServer

HTTP = "HTTP"
UNARY = "gRPC"
STREAM = "gRPC stream"
PROTOCOLS = (HTTP, UNARY, STREAM)

BATCH_ROWS = 7
CLIENTS_OF_EACH = {HTTP: 3, UNARY: 2, STREAM: 1}
STREAM_AHEAD = 4
PAUSE_S = 0.01
PAUSE_AFTER_FAILURE_S = 0.05

_PREFIX = "traffic-"
_COUNTS = "SELECT trace_id, count(*) FROM http_requests WHERE starts_with(trace_id, %s) GROUP BY trace_id"
# What a server that stops, dies or lost its database may say; anything else is a wrong answer.
_HTTP_STATUSES = {202, 503}
_GRPC_STATUSES = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


class Traffic:
    """Sends batches, each under a trace id of its own, from several threads between entry and exit."""

    def __init__(self, server: RunningServer) -> None:
        self.acknowledged: dict[str, set[str]] = {protocol: set() for protocol in PROTOCOLS}
        self.refusals = 0
        self.failures: dict[str, list[str]] = {protocol: [] for protocol in PROTOCOLS}
        self.wrong_answers: list[str] = []
        self._server = server
        self._stopped = threading.Event()
        loops = {HTTP: self._send_http, UNARY: self._send_unary, STREAM: self._send_stream}
        self._threads = [
            threading.Thread(target=self._run, args=(loops[protocol],))
            for protocol, count in CLIENTS_OF_EACH.items()
            for _ in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_for_acknowledgements(self, count: int, timeout_s: float = PATIENCE_S) -> None:
        """Wait until each protocol had `count` more batches acknowledged."""
        wanted = {protocol: len(traces) + count for protocol, traces in self.acknowledged.items()}
        wait_until(
            lambda: all(len(self.acknowledged[protocol]) >= number for protocol, number in wanted.items()),
            f"{count} more acknowledged batches over each protocol",
            timeout_s,
        )

    def assert_stored_whole(self, database_url: str) -> None:
        """Check that all acknowledged batches are stored, by now or soon, and that none is stored in part or twice."""
        acknowledged = {trace for traces in self.acknowledged.values() for trace in set(traces)}
        stored: dict[str, int] = {}

        def is_all_there() -> bool:
            with suppress(psycopg.OperationalError), psycopg.connect(database_url) as connection:
                stored.update(connection.execute(_COUNTS, (_PREFIX,)).fetchall())
            return acknowledged <= stored.keys()

        # What was spooled while the database was down comes later.
        deadline = time.monotonic() + PATIENCE_S
        while not is_all_there() and time.monotonic() < deadline:
            time.sleep(0.2)
        lost = acknowledged - stored.keys()
        torn = {trace: count for trace, count in stored.items() if count != BATCH_ROWS}
        assert not lost, f"{len(lost)} acknowledged batches are not stored"
        assert not torn, f"batches of {BATCH_ROWS} rows are stored with {sorted(set(torn.values()))}"
        assert not self.wrong_answers, self.wrong_answers[:3]
        assert all(self.acknowledged.values())

    def _run(self, send: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            send()

    def _send_http(self) -> None:
        trace, batch = self._make_batch()
        try:
            answer = self._server.post(batch)
        except (OSError, http.client.HTTPException) as error:
            self.failures[HTTP].append(repr(error))
            self._stopped.wait(PAUSE_AFTER_FAILURE_S)
            return
        if answer.status not in _HTTP_STATUSES:
            self.wrong_answers.append(f"HTTP {answer.status} {answer.body!r}")
        elif answer.status == 202:
            self._acknowledge(HTTP, trace, answer.json["accepted"])
        else:
            self._note_refusal(HTTP, str(answer.status))

    def _send_unary(self) -> None:
        with self._connect() as channel:
            stub = IngestServiceStub(channel)
            metadata = (("x-seestack-key", self._server.api_key),)
            try:
                while not self._stopped.is_set():
                    trace, batch = self._make_batch()
                    request = ParseDict(batch, IngestHttpRequestsRequest())
                    response = stub.IngestHttpRequests(request, metadata=metadata, timeout=PATIENCE_S)
                    self._acknowledge(UNARY, trace, response.accepted)
            except grpc.RpcError as error:
                self._note_grpc_failure(UNARY, error)

    def _send_stream(self) -> None:
        with self._connect() as channel, open_stream(channel, self._server.api_key) as stream:
            try:
                self._feed(stream)
            except grpc.RpcError as error:
                self._note_grpc_failure(STREAM, error)

    def _feed(self, stream: OpenStream) -> None:
        underway: deque[str] = deque()
        while not self._stopped.is_set():
            while len(underway) < STREAM_AHEAD:
                trace, batch = self._make_batch()
                stream.send(batch)
                underway.append(trace)
            response = stream.receive()
            if response.HasField("error"):
                if response.error.code != "SERVICE_UNAVAILABLE":
                    self.wrong_answers.append(f"gRPC stream {response.error}")
                underway.popleft()
                self._note_refusal(STREAM, response.error.code)
            else:
                self._acknowledge(STREAM, underway.popleft(), response.accepted)

    def _connect(self) -> grpc.Channel:
        # Without subchannels shared between channels, each is a connection, as of different clients.
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200))
        return grpc.insecure_channel(f"127.0.0.1:{self._server.grpc_port}", options)

    def _make_batch(self) -> tuple[str, dict[str, Any]]:
        trace = _PREFIX + uuid4().hex
        return trace, make_batch(self._server.project_id, BATCH_ROWS, traceId=trace)

    def _acknowledge(self, protocol: str, trace: str, accepted: int) -> None:
        self.acknowledged[protocol].add(trace)
        if accepted != BATCH_ROWS:
            self.wrong_answers.append(f"{protocol} accepted {accepted} rows of {BATCH_ROWS}")
        self._stopped.wait(PAUSE_S)

    def _note_refusal(self, protocol: str, reason: str) -> None:
        self.refusals += 1
        self.failures[protocol].append(reason)
        self._stopped.wait(PAUSE_AFTER_FAILURE_S)

    def _note_grpc_failure(self, protocol: str, error: Any) -> None:
        if error.code() not in _GRPC_STATUSES:
            self.wrong_answers.append(f"gRPC {error.code().name} {error.details()}")
        self._note_refusal(protocol, error.code().name)
