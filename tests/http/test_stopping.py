"""SIGTERM: what has begun is finished, and connections that have nothing to finish end at once."""

import asyncio
import signal
import time
from contextlib import ExitStack

from flask import Flask

from tests.http.in_process import serve
from tests.http.messages import PING, PONG, batch, head, post
from tests.http.raw_client import RawClient
from tests.patience import PATIENCE_S
from tests.process.polling import wait_until
from tests.process.table_lock import lock_table
from tests.running_server import STOP_TIMEOUT_S, RunningServer, start_server

LARGE_PAGE = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"


def connected(server: RunningServer, stack: ExitStack, data: bytes, answers: int = 0) -> RawClient:
    """Return a connection that has sent `data` and got its answers."""
    client = stack.enter_context(RawClient(server.http_port, receive_buffer=4096))
    client.send(data)
    for _ in range(answers):
        assert client.receive().json == PONG
    return client


def begin(server: RunningServer, stack: ExitStack, body: bytes) -> list[tuple[RawClient, bytes]]:
    """Return connections whose requests are in flight, each with what is still to be sent."""
    whole_head = head(server, f"Content-Length: {len(body)}")
    expecting = head(server, f"Content-Length: {len(body)}", "Expect: 100-continue")
    storing = connected(server, stack, post(server, body) + PING)
    in_head = connected(server, stack, PING + whole_head[:-20], 1)
    in_body = connected(server, stack, whole_head)
    asked = connected(server, stack, expecting)
    asked.receive_interim()
    return [(storing, b""), (in_head, whole_head[-20:] + body), (in_body, body), (asked, body)]


def idle_connections(server: RunningServer, stack: ExitStack) -> list[RawClient]:
    return [
        connected(server, stack, b""),
        connected(server, stack, b"\r\n"),
        connected(server, stack, PING, 1),
        connected(server, stack, PING * 20 + b"\r\n\r\n", 20),
    ]


def test_what_is_in_flight_is_finished_and_what_is_idle_ends(database_url: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(start_server(database_url, "--grace-seconds", "60"))
        idle = idle_connections(server, stack)
        lock = stack.enter_context(lock_table(database_url))
        in_flight = begin(server, stack, batch(server, "in flight"))
        reading = connected(server, stack, LARGE_PAGE * 10)
        lock.wait_for_writers()
        wait_until(lambda: not reading.is_silent(0), "a large answer begins")

        server.process.send_signal(signal.SIGTERM)
        for client in idle:
            client.assert_closed()
        assert all(client.is_silent(0.05) for client, _ in in_flight)
        assert len(reading.receive().body) > 1_000_000
        reading.socket.close()

        lock.release()
        for client, rest in in_flight:
            client.send(rest)
        for client, _ in in_flight:
            answer = client.receive()
            assert (answer.status, answer.headers["connection"]) == (202, "close")
            client.assert_closed()
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert len(server.rows("in flight")) == 4
        assert "Traceback" not in server.log.read_text()


def test_what_cannot_be_finished_is_cut_off_after_the_grace_period(database_url: str) -> None:
    with start_server(database_url, "--grace-seconds", "0.5") as server, ExitStack() as stack:
        stuck = [
            connected(server, stack, b"POST"),
            connected(server, stack, head(server, "Content-Length: 100")),
            connected(server, stack, LARGE_PAGE * 20),
        ]
        wait_until(lambda: not stuck[2].is_silent(0), "an answer begins")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert time.monotonic() - began > 0.5
        log = server.log.read_text()
        assert "Traceback" not in log
        assert "is killed" not in log


def test_a_connection_that_is_accepted_in_the_moment_of_a_stop_ends_at_once() -> None:
    with serve(Flask(__name__)) as running:

        def connect_and_stop() -> tuple[RawClient, "asyncio.Task[None]"]:
            # Both are due in the same turn of the event loop.
            client = RawClient(running.port)
            return client, running.thread.loop.create_task(running.server.stop(3_600))

        client, stopping = running.thread.call(connect_and_stop)
        with client:
            client.assert_closed()
        running.thread.run(asyncio.wait_for(stopping, PATIENCE_S))
