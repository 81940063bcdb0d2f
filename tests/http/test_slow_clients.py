"""Many slow or idle clients do not keep others waiting."""

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.http.messages import PING, PONG, batch, head, post
from tests.http.raw_client import RawClient
from tests.process.polling import live_workers
from tests.running_server import RunningServer

SLOW_CONNECTIONS = 50
IDLE_CONNECTIONS = 1000
SPARE_DESCRIPTORS = 200
PAUSE_S = 0.05
EXCHANGES = 20


@contextmanager
def connections(server: RunningServer, count: int) -> Iterator[list[RawClient]]:
    with ExitStack() as stack:
        yield [stack.enter_context(RawClient(server.http_port)) for _ in range(count)]


@contextmanager
def dribble(clients: list[RawClient], data: bytes) -> Iterator[None]:
    """Send `data` over each connection, a byte at a time."""

    def send() -> None:
        for index in range(len(data)):
            for client in clients:
                client.send(data[index : index + 1])
            time.sleep(PAUSE_S)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.fixture
def _descriptors(server: RunningServer) -> Iterator[None]:
    """Let this process and the server's open as many sockets as these tests need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE_CONNECTIONS + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} descriptors are allowed")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        for pid in (os.getpid(), *live_workers(server, "http_bridge")):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def assert_served(server: RunningServer, client: RawClient) -> None:
    """Check that a client is answered again and again."""
    for _ in range(EXCHANGES):
        client.send(post(server, batch(server)) + PING)
        assert [client.receive().status for _ in range(2)] == [202, 200]


@pytest.mark.parametrize("is_in_body", [False, True], ids=["head", "body"])
def test_clients_that_send_slowly_hold_nobody_up(server: RunningServer, client: RawClient, is_in_body: bool) -> None:
    body = batch(server)
    request = head(server, f"Content-Length: {len(body)}") + body
    cut = len(request) - len(body) + 1 if is_in_body else 1
    with connections(server, SLOW_CONNECTIONS) as slow:
        for other in slow:
            other.send(request[:cut])
        rest = request[cut:]
        with dribble(slow, rest[:5]):
            assert_served(server, client)
        # They are still at it, and were not waited for.
        assert all(other.is_silent(0) for other in slow)
        for other in slow:
            other.send(rest[5:])
        assert [other.receive().status for other in slow] == [202] * SLOW_CONNECTIONS


def test_clients_that_read_slowly_hold_nobody_up(server: RunningServer, client: RawClient) -> None:
    page = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        slow = [stack.enter_context(RawClient(server.http_port, receive_buffer=4096)) for _ in range(20)]
        for other in slow:
            other.send(page * 5)
        assert_served(server, client)
        assert [len(slow[0].receive().body) > 1_000_000 for _ in range(5)] == [True] * 5


@pytest.mark.usefixtures("_descriptors")
def test_idle_connections_cost_nobody_anything(server: RunningServer, client: RawClient) -> None:
    with connections(server, IDLE_CONNECTIONS) as idle:
        for other in idle[::2]:
            other.send(PING)
        for other in idle[::2]:
            assert other.receive().json == PONG
        assert_served(server, client)
        for other in idle:
            other.send(PING)
        for other in idle:
            assert other.receive().json == PONG
