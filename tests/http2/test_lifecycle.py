"""How connections end: when they are old, slow or too many, and when the server stops."""

import asyncio
import struct
import threading
import time
from contextlib import suppress

import pytest

from server.http2 import connection as http2_connection
from server.http2.errors import ErrorCode
from server.processes import connection_server
from tests.fuzz.http2_connections import GOAWAY, HEADERS, PING, PREFACE, frame
from tests.http2.client import ACK, OPENING, Http2Client, body, call, head
from tests.http2.serving import MAX_CONNECTIONS, serve

TICK_S = 0.02
SOON_S = 0.1


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_server, "CHECK_INTERVAL_S", TICK_S)


def expect_goaway(client: Http2Client) -> tuple[int, ErrorCode, bytes]:
    """Return the last stream, the code and the reason."""
    payload = client.expect(GOAWAY)
    last, code = struct.unpack_from(">II", payload)
    return last, ErrorCode(code), payload[8:]


def assert_closed(client: Http2Client) -> None:
    with suppress(EOFError):
        while client.receive():
            pass


def test_an_old_connection_ends_once_its_client_knows_and_its_calls_are_done() -> None:
    with serve(max_age_s=SOON_S) as serving, Http2Client(serving.port) as client:
        client.send(head(1, "echo_all"))
        assert expect_goaway(client) == (2**31 - 1, ErrorCode.NO_ERROR, b"draining")
        client.send(head(3, "echo"))  # before its client could know
        ping = client.expect(PING)
        client.send(frame(PING, ACK, 0, ping))
        assert expect_goaway(client)[:2] == (3, ErrorCode.NO_ERROR)
        client.send(body(3, b"x"))
        assert client.answer(3).messages == [b"x"]
        client.send(call(5, "echo", b"too late"))
        client.send(body(1, b"y"))
        assert client.answers(1, 5)[0].messages == [b"y"]
        assert_closed(client)


def test_a_client_that_ignores_the_question_is_not_waited_for() -> None:
    with serve(max_age_s=SOON_S) as serving, Http2Client(serving.port) as client:
        assert expect_goaway(client)[0] == 2**31 - 1
        assert expect_goaway(client)[0] == 0
        assert_closed(client)


def test_a_stop_finishes_calls_and_ends_idle_connections() -> None:
    with serve() as serving, Http2Client(serving.port) as client, Http2Client(serving.port) as idle:
        client.send(head(1, "echo"))
        client.ping()
        idle.ping()
        stopping = threading.Thread(target=serving.stop, args=(60,))
        stopping.start()
        client.send(frame(PING, ACK, 0, client_ping(client)), body(1, b"finished"))
        assert client.answer(1).messages == [b"finished"]
        assert_closed(client)
        assert_closed(idle)
        stopping.join()


def client_ping(client: Http2Client) -> bytes:
    """Return the payload of the ping behind a GOAWAY."""
    expect_goaway(client)
    return client.expect(PING)


def test_calls_that_outlast_the_grace_period_are_cut_off() -> None:
    with serve() as serving, Http2Client(serving.port) as client:
        client.send(call(1, "hang", b"x"))
        client.ping()
        serving.stop(SOON_S)
        assert_closed(client)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), serving.loop).result()  # what was cancelled has had its turn
        assert serving.methods.cancelled == 1


@pytest.mark.parametrize("opening", [b"", PREFACE[:10], OPENING + frame(HEADERS, 0, 1, b"\x82")])
def test_what_must_come_soon_but_does_not_ends_the_connection(monkeypatch: pytest.MonkeyPatch, opening: bytes) -> None:
    monkeypatch.setattr(http2_connection, "SLOW_S", SOON_S)
    with serve() as serving, Http2Client(serving.port) as served, Http2Client(serving.port, opening) as slow:
        assert_closed(slow)
        time.sleep(SOON_S)
        served.assert_serves(1)


def test_a_silent_client_is_asked_and_lives_as_long_as_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_connection, "PING_AFTER_S", SOON_S)
    monkeypatch.setattr(http2_connection, "PING_TIMEOUT_S", 10 * SOON_S)
    with serve() as serving, Http2Client(serving.port) as client:
        for _ in range(3):
            client.send(frame(PING, ACK, 0, client.expect(PING)))
        client.assert_serves(1)
        assert_closed(client)


def test_the_longest_silent_connection_without_a_call_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as serving:
        busy, silent, *others = clients = [Http2Client(serving.port) for _ in range(MAX_CONNECTIONS)]
        for client in clients:
            client.ping()
        busy.send(call(1, "hang", b"x"))
        busy.ping()
        with Http2Client(serving.port) as further:
            further.assert_serves(1)
            assert_closed(silent)
            busy.ping()
            others[-1].assert_serves(1)
        for client in clients:
            client.raw.socket.close()
