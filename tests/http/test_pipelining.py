"""Requests that are sent before the answers to earlier ones have come."""

import pytest

from tests.contract.envelope import assert_envelope
from tests.http.messages import INVALID_KEY, NO_HTTP, PING, PONG, batch, head, post
from tests.http.raw_client import RawClient
from tests.running_server import RunningServer


def ask_for(number: int) -> bytes:
    """Return a request whose answer can be told from others, by its request id."""
    return PING.replace(b"\r\n\r\n", f"\r\nX-Request-Id: {identifier(number)}\r\n\r\n".encode())


def identifier(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


@pytest.mark.parametrize("count", [2, 9, 10, 100, 1000])
def test_answers_come_in_the_order_of_the_requests(client: RawClient, count: int) -> None:
    client.send(b"".join(map(ask_for, range(count))))
    answers = [client.receive() for _ in range(count)]
    assert [answer.headers["x-request-id"] for answer in answers] == list(map(identifier, range(count)))
    assert client.is_silent(0)


def test_a_slow_answer_holds_the_fast_ones_behind_it_back(server: RunningServer, client: RawClient) -> None:
    slow = post(server, batch(server, count=100))
    client.send(b"".join([slow, PING] * 10))
    assert [client.receive().status for _ in range(20)] == [202, 200] * 10


def test_a_refused_request_does_not_disturb_its_neighbours(server: RunningServer, client: RawClient) -> None:
    good = post(server, batch(server))
    bad_key = head(server, "Content-Length: 2", key="wrong") + b"{}"
    client.send(good + bad_key + post(server, b"{") + b"POST /none HTTP/1.1\r\nHost: x\r\n\r\n" + good + PING)
    assert client.receive().status == 202
    assert_envelope(client.receive(), *INVALID_KEY)
    assert [client.receive().status for _ in range(4)] == [400, 404, 202, 200]


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x00", b"BAD\r\n\r\n", b"BREW\x00"])
def test_rubbish_after_requests_is_refused_after_their_answers(client: RawClient, rubbish: bytes) -> None:
    client.send(PING * 3 + rubbish)
    for _ in range(3):
        assert client.receive().json == PONG
    assert_envelope(client.receive(), *NO_HTTP)
    client.assert_closed()


def test_rubbish_is_refused_although_the_client_has_ended_its_side(server: RunningServer) -> None:
    for _ in range(20):
        with RawClient(server.http_port) as client:
            client.send(post(server, batch(server)) + b"rubbish")
            client.end()
            assert client.receive().status == 202
            assert_envelope(client.receive(), *NO_HTTP)
            client.assert_closed()


def test_nothing_is_answered_after_a_close_was_asked_for(client: RawClient) -> None:
    client.send(PING + PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + PING)
    assert client.receive().json == PONG
    assert client.receive().headers["connection"] == "close"
    client.assert_closed()


def test_a_client_that_has_ended_its_side_gets_all_answers(server: RunningServer, client: RawClient) -> None:
    client.send(PING * 50 + post(server, batch(server)))
    client.end()
    assert [client.receive().status for _ in range(51)] == [200] * 50 + [202]
    client.assert_closed()


def test_large_bodies_behind_one_another_are_all_read(server: RunningServer, client: RawClient) -> None:
    body = batch(server, count=100)
    client.send(post(server, body + b" " * (2**20 - len(body))) * 12)
    assert [client.receive().json["accepted"] for _ in range(12)] == [100] * 12
