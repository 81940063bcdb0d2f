"""What a client sends or does not read does not pile up in the server."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request

from http_bridge.http1.greenlets import wait
from tests.http.in_process import InProcess, count_connections, serve
from tests.http.messages import chunked
from tests.http.raw_client import RawClient
from tests.process.polling import wait_until

PAGE_BYTES = 2**18
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
# What the buffers of the system and of the event loop may hold of what is sent.
BUFFERED_BYTES = 2**23


class Application:
    """Counts its answers, and holds back those to POST until it is told to read their bodies."""

    def __init__(self) -> None:
        self.answers = 0
        self.release = threading.Event()
        self.app = Flask(__name__)
        self.app.get("/")(self.page)
        self.app.post("/")(self.read)

    def page(self) -> str:
        self.answers += 1
        return "x" * PAGE_BYTES

    def read(self) -> str:
        while not self.release.is_set():
            wait(asyncio.sleep(0.01))
        size = 0
        while data := wait(request.environ["wsgi.input"].read(10_000)):
            size += len(data)
        return str(size)


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def running(application: Application) -> Iterator[InProcess]:
    with serve(application.app, send_buffer=4096) as server:
        yield server


def send_as_much_as_fits(client: RawClient, data: bytes) -> int:
    """Send copies of `data` until the server has taken no more for a while, and return how many bytes went."""
    sent = 0
    while client.can_send(0.3):
        sent += client.socket.send(data[sent % len(data) :])
        assert sent < 100 * BUFFERED_BYTES
    return sent


def test_answers_that_are_not_read_are_not_made(running: InProcess, application: Application) -> None:
    with RawClient(running.port, receive_buffer=4096) as client:
        client.send(GET * 500)
        wait_until(lambda: application.answers > 0, "the first answer is made")
        time.sleep(0.2)
        assert application.answers <= 2
        for _ in range(20):
            assert len(client.receive().body) == PAGE_BYTES
        assert application.answers < 40


def test_requests_are_not_read_while_answers_are_not(running: InProcess) -> None:
    with RawClient(running.port, receive_buffer=4096) as client:
        # Few requests a byte: a server that parses many of them is too busy to take more.
        padded = GET.replace(b"\r\n\r\n", b"\r\nX-Padding: " + b"x" * 8000 + b"\r\n\r\n")
        assert send_as_much_as_fits(client, padded) < BUFFERED_BYTES


def test_a_body_is_not_read_before_it_is_wanted(running: InProcess, application: Application) -> None:
    with RawClient(running.port) as client:
        client.send(CHUNKS)
        part = chunked(b"x" * 2**16, 2**14, b"")
        sent = send_as_much_as_fits(client, part)
        assert sent < BUFFERED_BYTES
        application.release.set()
        client.send(part[sent % len(part) :] + b"0\r\n\r\n" + GET)
        assert int(client.receive().body) == (sent // len(part) + 1) * 2**16
        assert len(client.receive().body) == PAGE_BYTES


def test_a_body_behind_other_requests_is_not_read_before_its_turn(running: InProcess, application: Application) -> None:
    with RawClient(running.port) as client:
        client.send((CHUNKS + b"0\r\n\r\n") * 3 + CHUNKS)
        part = chunked(b"x" * 2**16, 2**14, b"")
        sent = send_as_much_as_fits(client, part)
        assert sent < BUFFERED_BYTES
        application.release.set()
        client.send(part[sent % len(part) :] + b"0\r\n\r\n")
        sizes = [int(client.receive().body) for _ in range(4)]
        assert sizes == [0, 0, 0, (sent // len(part) + 1) * 2**16]


def test_a_large_body_goes_through_in_small_reads(running: InProcess, application: Application) -> None:
    application.release.set()
    size = 30 * 2**20
    with RawClient(running.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        client.send_parts([b"x" * 2**20] * 30)
        assert int(client.receive().body) == size
        client.send(GET)
        assert len(client.receive().body) == PAGE_BYTES


def test_nothing_is_kept_of_a_connection_that_is_closed() -> None:
    bodies: list[weakref.ref[Any]] = []
    app = Flask(__name__)

    @app.post("/")
    def read() -> str:
        body = request.environ["wsgi.input"]
        bodies.append(weakref.ref(body))
        wait(body.read(5))
        return "x"

    with serve(app) as running:
        for _ in range(3):
            with RawClient(running.port) as client:
                client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1234567890" * 3)
                assert [client.receive().body for _ in range(3)] == [b"x"] * 3
        wait_until(lambda: count_connections(running) == 0, "the connections are closed")
        gc.collect()
        assert [body() for body in bodies] == [None] * 9


def test_nothing_is_left_of_a_client_that_went_away_without_reading(
    running: InProcess, application: Application
) -> None:
    client = RawClient(running.port, receive_buffer=4096)
    client.send(GET * 5)
    wait_until(lambda: not client.is_silent(0), "an answer begins")
    client.reset()
    wait_until(lambda: count_connections(running) == 0, "the connection is closed")
    gc.collect()  # complains about tasks that wait for what nobody can bring about any more
    assert running.thread.problems == []
    assert application.answers <= 2
