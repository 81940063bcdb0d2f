"""Requests of strangers and requests that never end take no memory to speak of, and leave nothing behind."""

import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.batches import make_batch
from tests.grpc_client import SERVICE, refusal_of
from tests.http.messages import head
from tests.http.raw_client import RawClient
from tests.process.open_stream import open_stream
from tests.process.polling import live_workers, wait_until
from tests.running_server import RunningServer, start_server

MIB = 2**20
ALLOWED_GROWTH_MIB = 160  # of the 300 that 100 messages at once would take; on a busy machine 114 was seen
WORKERS = ("--http-workers", "1", "--grpc-workers", "1")


@pytest.fixture(scope="module")
def small_server(create_database: Any) -> Iterator[RunningServer]:
    """A server with one worker for each protocol, which holds few connections and calls."""
    bounds = ("--max-held-bytes", str(16 * MIB), "--max-connections", "300", "--grpc-max-calls", "3")
    with start_server(create_database(), *WORKERS, *bounds) as server:
        yield server


@contextmanager
def bounded_growth(server: RunningServer, module: str) -> Iterator[None]:
    """Check that a worker has at no time more memory than it is allowed."""
    (worker,) = live_workers(server, module)
    before = memory_mib(worker, "VmRSS")
    yield
    assert memory_mib(worker, "VmHWM") - before < ALLOWED_GROWTH_MIB


def memory_mib(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) // 1024


@pytest.mark.parametrize(("key", "codes"), [
    ("wrong", {grpc.StatusCode.UNAUTHENTICATED}),
    # On a busy machine some take too long.
    (None, {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}),
])  # fmt: skip
def test_large_messages_are_not_taken_in_many_at_once(
    create_database: Any, key: str | None, codes: set[grpc.StatusCode]
) -> None:
    with start_server(create_database(), *WORKERS) as server, bounded_growth(server, "server.grpc.worker"):
        method: Any = server.channel().unary_unary(f"/{SERVICE}/IngestHttpRequests")
        metadata = (("x-seestack-key", key or server.api_key),)

        def call(_: int) -> grpc.StatusCode:
            with pytest.raises(grpc.RpcError) as raised:
                method(b"\0" * (3 * MIB), metadata=metadata, timeout=120)
            status: grpc.StatusCode = raised.value.code()
            return status

        with ThreadPoolExecutor(100) as executor:
            assert set(executor.map(call, range(200))) <= codes


def test_bodies_that_never_end_make_room_for_others(small_server: RunningServer) -> None:
    server = small_server
    with bounded_growth(server, "http_bridge"), ExitStack() as stack:
        silent = [stack.enter_context(RawClient(server.http_port)) for _ in range(60)]
        for client in silent:
            client.send(head(server, f"Content-Length: {MIB}") + b" " * (900 * 1024))
            assert server.post(make_batch(server.project_id)).status == 202
        answer = silent[0].receive()
        assert (answer.status, answer.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        silent[0].assert_closed()
        silent[-1].send(b" " * (MIB - 900 * 1024))
        assert silent[-1].receive().status == 400


def test_silent_connections_make_room_for_new_ones(small_server: RunningServer) -> None:
    server = small_server
    with ExitStack() as stack:
        idle = [stack.enter_context(RawClient(server.http_port)) for _ in range(200)]
        started = [stack.enter_context(RawClient(server.http_port)) for _ in range(200)]
        for client in started:
            client.send(b"POST /ingest/v1/http-requests HTTP/1.1\r\n")
        assert server.post(make_batch(server.project_id)).status == 202
        idle[0].assert_closed()


def test_calls_beyond_the_bound_are_told_to_come_back(small_server: RunningServer) -> None:
    server = small_server
    with ExitStack() as stack:
        for _ in range(3):
            stream = stack.enter_context(open_stream(server.channel(), server.api_key))
            stream.send(make_batch(server.project_id))
            assert stream.receive().accepted == 1
        further = stack.enter_context(open_stream(server.channel(), server.api_key))
        with pytest.raises(grpc.RpcError) as raised:
            further.receive()
        refusal = refusal_of(raised.value)
        assert (refusal.status, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        assert refusal.retry_after_s


def test_a_unary_message_that_never_ends_gives_its_turn_to_others(create_database: Any) -> None:
    """A client over HTTP/2 frames of its own begins messages and stops; others are served meanwhile."""
    with start_server(create_database(), *WORKERS, "--max-held-bytes", str(4 * MIB)) as server:
        method: Any = server.channel().stream_unary(f"/{SERVICE}/IngestHttpRequests")
        release = threading.Event()

        def never() -> Iterator[bytes]:
            release.wait(60)
            yield b""

        metadata = (("x-seestack-key", server.api_key),)
        stalled = method.future(never(), metadata=metadata, timeout=60)
        unary: Any = server.channel().unary_unary(f"/{SERVICE}/IngestHttpRequests")
        with pytest.raises(grpc.RpcError) as raised:
            unary(b"\xff" * MIB, metadata=metadata, timeout=60)  # more than comes without being asked for
        assert refusal_of(raised.value).reason == "MALFORMED_REQUEST"
        assert stalled.code() is grpc.StatusCode.UNAVAILABLE
        release.set()


def test_cancelled_streams_leave_nothing_behind(create_database: Any) -> None:
    with start_server(create_database(), *WORKERS) as server:
        (worker,) = live_workers(server, "server.grpc.worker")
        method: Any = server.channel().stream_stream(f"/{SERVICE}/StreamHttpRequests")
        data = b"\0" * 10_000
        metadata = (("x-seestack-key", server.api_key),)

        def cancel(count: int) -> int:
            for _ in range(count):
                call = method(iter([data] * 60), metadata=metadata)
                threading.Event().wait(0.003)
                call.cancel()
            with socket.create_connection(("127.0.0.1", server.grpc_port)):
                return memory_mib(worker, "VmRSS")

        before = cancel(300)
        cancel(1200)
        # Free memory goes back every ten seconds.
        wait_until(lambda: memory_mib(worker, "VmRSS") < before + 10, "memory is given back", 25)
