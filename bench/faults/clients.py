"""The clients of a load: one coroutine each, all in one process, each batch under a trace id of its own."""

import asyncio
import itertools
import random
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import grpc
import msgspec

from bench.faults.record import HTTP, STREAM, UNARY, Outcome, Record
from seestack.ingest.v1 import ingest_pb2
from server.cli.sample_traffic import make_items, to_message
from server.contract.identifiers import REQUEST_ID_HEADER
from server.grpc.handlers import SERVICE_NAME

BATCH_ROWS = 7
CLIENTS = {HTTP: 4, UNARY: 4, STREAM: 2}
# Batches a second that each client sends, unless it has to wait; a stream has up to STREAM_AHEAD under way.
RATES = {HTTP: 30.0, UNARY: 30.0, STREAM: 60.0}
STREAM_AHEAD = 16
PAUSE_AFTER_FAILURE_S = 0.1
TIMEOUT_S = 60.0

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHANNEL_OPTIONS = (
    # Each channel has a connection of its own, as of different clients.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
)

# Messages go out as bytes that were encoded once.
_Unary = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
_Stream = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
_Call = grpc.aio.StreamStreamCall[bytes, bytes]


@dataclass(frozen=True)
class Target:
    """Where to send to, and as whom."""

    http: tuple[str, int]
    grpc: tuple[str, int]
    project_id: str
    api_key: str


class Batches:
    """Batches of this moment, each under a trace id of its own."""

    def __init__(self, target: Target) -> None:
        self._items = make_items(BATCH_ROWS, random.Random(BATCH_ROWS))
        self._batch = {"projectId": target.project_id, "requests": self._items}
        self._message = ingest_pb2.IngestHttpRequestsRequest(
            project_id=target.project_id, requests=map(to_message, self._items)
        )
        self._prefix = uuid4().hex[:8]
        self._numbers: Iterator[int] = itertools.count()

    def next_trace(self) -> str:
        """Return an id that was never used."""
        return f"{self._prefix}-{next(self._numbers):08d}"

    def body(self, trace: str) -> bytes:
        """Return a batch as JSON."""
        now = datetime.now(UTC).isoformat()
        for item in self._items:
            item["traceId"], item["timestamp"] = trace, now
        return msgspec.json.encode(self._batch)

    def message(self, trace: str) -> bytes:
        """Return a batch as a gRPC message."""
        for item in self._message.requests:
            item.trace_id = trace
            item.timestamp.GetCurrentTime()
        return self._message.SerializeToString()


class Clients:
    """All clients of a load."""

    def __init__(self, target: Target, record: Record, is_over: asyncio.Event) -> None:
        self._target = target
        self._record = record
        self._is_over = is_over
        self._batches = Batches(target)
        self._metadata = (("x-seestack-key", target.api_key),)

    async def run(self) -> None:
        """Send until the load is over and every batch has its outcome."""
        kinds = {HTTP: self._run_http, UNARY: self._run_unary, STREAM: self._run_stream}
        async with asyncio.TaskGroup() as tasks:
            for protocol, count in CLIENTS.items():
                for _ in range(count):
                    tasks.create_task(kinds[protocol]())

    async def _run_http(self) -> None:
        client = _HttpConnection(self._target, self._record)
        await self._send_in_turn(HTTP, lambda trace: client.send(self._batches.body(trace)))
        client.close()

    async def _run_unary(self) -> None:
        async with self._open_channel() as channel:
            call: _Unary = channel.unary_unary(f"/{SERVICE_NAME}/IngestHttpRequests")

            async def send(trace: str) -> Outcome:
                try:
                    await call(self._batches.message(trace), metadata=self._metadata, timeout=TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    return self._outcome_of(error)
                return Outcome.ACKNOWLEDGED

            await self._send_in_turn(UNARY, send)

    async def _send_in_turn(self, protocol: str, send: Callable[[str], Awaitable[Outcome]]) -> None:
        while not self._is_over.is_set():
            trace = self._batches.next_trace()
            sent_at = time.monotonic()
            outcome = await send(trace)
            self._record.note(protocol, trace, outcome, sent_at)
            due_in = 1 / RATES[protocol] - (time.monotonic() - sent_at)
            await asyncio.sleep(max(0.0, due_in) if outcome is Outcome.ACKNOWLEDGED else PAUSE_AFTER_FAILURE_S)

    async def _run_stream(self) -> None:
        async with self._open_channel() as channel:
            while not self._is_over.is_set():
                method: _Stream = channel.stream_stream(f"/{SERVICE_NAME}/StreamHttpRequests")
                call = method(metadata=self._metadata)
                underway: deque[tuple[str, float]] = deque()
                feeding = asyncio.create_task(self._feed(call, underway))
                outcome = Outcome.UNANSWERED
                try:
                    await self._read_answers(call, underway)
                except TimeoutError:
                    call.cancel()
                except grpc.aio.AioRpcError as error:
                    outcome = self._outcome_of(error)
                feeding.cancel()
                await asyncio.wait([feeding])
                for trace, sent_at in underway:
                    self._record.note(STREAM, trace, outcome, sent_at)
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    async def _feed(self, call: _Call, underway: deque[tuple[str, float]]) -> None:
        try:
            while not self._is_over.is_set():
                if len(underway) < STREAM_AHEAD:
                    trace = self._batches.next_trace()
                    underway.append((trace, time.monotonic()))
                    await call.write(self._batches.message(trace))
                await asyncio.sleep(1 / RATES[STREAM])
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # Why the stream has ended is told to its reader.
            return

    async def _read_answers(self, call: _Call, underway: deque[tuple[str, float]]) -> None:
        while True:
            async with asyncio.timeout(TIMEOUT_S):
                data = await call.read()
            if not isinstance(data, bytes):
                return
            trace, sent_at = underway.popleft()
            self._record.note(STREAM, trace, self._outcome_in_stream(data), sent_at)

    def _outcome_in_stream(self, data: bytes) -> Outcome:
        answer = ingest_pb2.StreamHttpRequestsResponse.FromString(data)
        if answer.accepted == BATCH_ROWS:
            return Outcome.ACKNOWLEDGED
        if answer.error.code == "SERVICE_UNAVAILABLE":
            return Outcome.REFUSED
        self._record.wrong_answers[f"gRPC stream {answer.error.code}"] += 1
        return Outcome.WRONG

    def _outcome_of(self, error: grpc.aio.AioRpcError) -> Outcome:
        # What has no request id was not said by the server, but by the client's end of a lost connection.
        if all(name != REQUEST_ID_HEADER for name, _ in error.trailing_metadata() or ()):
            return Outcome.UNANSWERED
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return Outcome.REFUSED
        self._record.wrong_answers[f"gRPC {error.code().name}: {error.details()}"] += 1
        return Outcome.WRONG

    def _open_channel(self) -> grpc.aio.Channel:
        host, port = self._target.grpc
        return grpc.aio.insecure_channel(f"{host}:{port}", _CHANNEL_OPTIONS)


class _HttpConnection:
    """An HTTP/1.1 connection that is kept, and opened again when it was lost."""

    def __init__(self, target: Target, record: Record) -> None:
        self._address = target.http
        self._record = record
        self._head = (
            f"POST /ingest/v1/http-requests HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-SeeStack-Key: {target.api_key}\r\nContent-Length: %d\r\n\r\n"
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, body: bytes) -> Outcome:
        """Send a batch and return what the server says."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await self._exchange((self._head % len(body)).encode() + body)
        except (OSError, EOFError, TimeoutError):
            self.close()
            return Outcome.UNANSWERED
        if status in (202, 503):
            return Outcome.ACKNOWLEDGED if status == 202 else Outcome.REFUSED
        self._record.wrong_answers[f"HTTP {status}"] += 1
        return Outcome.WRONG

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, request: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head)
        await reader.readexactly(int(length[1]) if length else 0)
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return int(head.split(maxsplit=2)[1])
