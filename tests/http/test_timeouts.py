"""Clients that take too long are dropped, and no others. Nobody waits for it: the server's clock is put forward."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask, request

from http_bridge.http1.connection import IDLE_TIMEOUT_S, REQUEST_TIMEOUT_S
from http_bridge.http1.greenlets import wait
from server.processes import connection_server
from tests.http.in_process import InProcess, count_connections, serve
from tests.http.raw_client import RawClient
from tests.process.polling import wait_until

CHECK_INTERVAL_S = 0.01
PAGE_BYTES = 40_000  # less than what is buffered before a connection counts as held up
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
GET_LARGE = GET.replace(b" / ", b" /large ")
GET_SLOW = GET.replace(b" / ", b" /slow ")
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
UNFINISHED = [b"G", GET[:-1], POST, POST + b"x" * 99, CHUNKS, CHUNKS + b"5\r\nabc"]


def create_app(release: threading.Event) -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def page() -> str:
        return "x"

    @app.post("/")
    def read() -> str:
        return str(len(wait(request.environ["wsgi.input"].read(1000))))

    @app.get("/large")
    def large() -> str:
        return "x" * PAGE_BYTES

    @app.get("/slow")
    def slow() -> str:
        while not release.is_set():
            wait(asyncio.sleep(0.01))
        return "x"

    return app


@pytest.fixture
def release() -> threading.Event:
    """Lets the slow page be answered."""
    return threading.Event()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, release: threading.Event) -> Iterator[InProcess]:
    monkeypatch.setattr(connection_server, "CHECK_INTERVAL_S", CHECK_INTERVAL_S)
    with serve(create_app(release), send_buffer=4096) as server:
        yield server


def pass_time(running: InProcess, seconds: float) -> None:
    """Let the server take in what it was sent, then put its clock forward, and let it see who is overdue."""
    # Timers of one loop are run in order, and between two of them it reads what has come.
    running.thread.run(asyncio.sleep(2 * CHECK_INTERVAL_S))
    running.thread.loop.ahead_s += seconds
    running.thread.run(asyncio.sleep(2 * CHECK_INTERVAL_S))


def assert_dropped_after(running: InProcess, client: RawClient, seconds: float) -> None:
    """Check that a connection is still there after half of that time, and not after all of it."""
    pass_time(running, seconds / 2)
    assert client.is_silent(0)
    pass_time(running, seconds / 2)
    client.assert_closed()


def test_a_connection_that_never_says_anything_is_dropped(running: InProcess) -> None:
    with RawClient(running.port) as client:
        assert_dropped_after(running, client, IDLE_TIMEOUT_S)


def test_a_connection_in_use_is_kept_until_it_is_idle(running: InProcess) -> None:
    with RawClient(running.port) as client:
        for _ in range(8):
            pass_time(running, IDLE_TIMEOUT_S / 2)
            client.send(GET)
            assert client.receive().status == 200
        assert_dropped_after(running, client, IDLE_TIMEOUT_S)


def test_a_request_that_is_not_finished_is_dropped(running: InProcess) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(running.port)) for _ in UNFINISHED]
        for client, data in zip(clients, UNFINISHED, strict=True):
            client.send(GET)
            assert client.receive().status == 200
            client.send(data)
        pass_time(running, REQUEST_TIMEOUT_S / 2)
        assert all(client.is_silent(0) for client in clients)
        pass_time(running, REQUEST_TIMEOUT_S / 2)
        for client in clients:
            client.assert_closed()
        wait_until(lambda: count_connections(running) == 0, "the server has closed the connections")


@pytest.mark.parametrize(("start", "drop"), [(b"GET /", b"x"), (POST, b"x"), (CHUNKS, b"1\r\nx\r\n"), (b"", b"\r\n")])
def test_a_client_that_sends_a_bit_now_and_then_is_dropped_all_the_same(
    running: InProcess, start: bytes, drop: bytes
) -> None:
    passed_s = 0.0
    with RawClient(running.port) as client:
        client.send(start)
        while client.is_silent(0):
            assert passed_s <= IDLE_TIMEOUT_S
            client.send(drop)
            pass_time(running, REQUEST_TIMEOUT_S / 8)
            passed_s += REQUEST_TIMEOUT_S / 8
        assert passed_s >= REQUEST_TIMEOUT_S
        client.assert_closed()


def test_each_request_has_the_whole_time_for_itself(running: InProcess) -> None:
    with RawClient(running.port) as client:
        for _ in range(3):
            client.send(GET[:9])
            pass_time(running, REQUEST_TIMEOUT_S / 2)
            client.send(GET[9:])
            assert client.receive().status == 200


def test_the_server_may_take_its_time(running: InProcess, release: threading.Event) -> None:
    with RawClient(running.port) as client:
        client.send(GET_SLOW + GET * 3)
        pass_time(running, 2 * IDLE_TIMEOUT_S)
        assert client.is_silent(0)
        release.set()
        assert [client.receive().status for _ in range(4)] == [200] * 4
        assert_dropped_after(running, client, IDLE_TIMEOUT_S)


@pytest.mark.parametrize("count", [1, 100], ids=lambda count: f"{count} answers")
@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"], ids=["keep-alive", "close"])
def test_a_client_that_never_reads_is_dropped(running: InProcess, count: int, header: bytes) -> None:
    with RawClient(running.port, receive_buffer=4096) as client:
        client.send(GET_LARGE * (count - 1) + GET_LARGE.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n"))
        assert_dropped_without_reading(running, client)


def test_a_client_that_never_reads_and_has_ended_its_side_is_dropped(running: InProcess) -> None:
    with RawClient(running.port, receive_buffer=4096) as client:
        client.send(GET_LARGE)
        client.end()
        assert_dropped_without_reading(running, client)


def assert_dropped_without_reading(running: InProcess, client: RawClient) -> None:
    wait_until(lambda: not client.is_silent(0), "an answer begins")
    pass_time(running, REQUEST_TIMEOUT_S / 2)
    assert count_connections(running) == 1
    pass_time(running, IDLE_TIMEOUT_S)
    wait_until(lambda: count_connections(running) == 0, "the server has closed the connection")


def test_a_client_that_reads_slowly_gets_all_answers(running: InProcess) -> None:
    with RawClient(running.port, receive_buffer=4096) as client:
        client.send(GET_LARGE * 30)
        for _ in range(30):
            assert len(client.receive().body) == PAGE_BYTES
            pass_time(running, REQUEST_TIMEOUT_S / 10)
