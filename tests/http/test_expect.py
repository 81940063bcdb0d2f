"""`Expect: 100-continue` (RFC 9110, 10.1.1): the body is asked for when it is wanted, not before."""

import pytest

from tests.contract.envelope import assert_envelope
from tests.http.messages import INVALID_KEY, PING, PONG, batch, chunked, head, post
from tests.http.raw_client import RawClient
from tests.running_server import RunningServer

EXPECT = "Expect: 100-continue"
LIMIT = 2**20


@pytest.mark.parametrize("expectation", [EXPECT, "expect: 100-Continue", EXPECT + " \t"])
def test_a_body_is_asked_for(server: RunningServer, client: RawClient, expectation: str) -> None:
    body = batch(server)
    for _ in range(2):
        client.send(head(server, f"Content-Length: {len(body)}", expectation))
        client.receive_interim()
        assert client.is_silent(0.05)
        client.send(body)
        assert client.receive().status == 202


def test_a_body_in_chunks_is_asked_for(server: RunningServer, client: RawClient) -> None:
    client.send(head(server, "Transfer-Encoding: chunked", EXPECT))
    client.receive_interim()
    client.send(chunked(batch(server), 100) + PING)
    assert client.receive().status == 202
    assert client.receive().json == PONG


def test_a_body_that_comes_unasked_is_not_asked_for(server: RunningServer, client: RawClient) -> None:
    client.send(post(server, batch(server), EXPECT))
    assert client.receive().status == 202


def test_an_empty_body_is_not_asked_for(server: RunningServer, client: RawClient) -> None:
    client.send(head(server, "Content-Length: 0", EXPECT))
    assert client.receive().status == 400


def test_a_body_is_asked_for_after_the_answers_to_earlier_requests(server: RunningServer, client: RawClient) -> None:
    body = batch(server)
    client.send(PING * 3 + post(server, batch(server)) + head(server, f"Content-Length: {len(body)}", EXPECT))
    assert [client.receive().status for _ in range(4)] == [200, 200, 200, 202]
    client.receive_interim()
    client.send(body)
    assert client.receive().status == 202


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_is_not_asked_of_a_stranger(server: RunningServer, client: RawClient, framing: str) -> None:
    client.send(head(server, framing, EXPECT, key="wrong"))
    answer = client.receive()
    assert_envelope(answer, *INVALID_KEY)
    assert answer.headers["connection"] == "close"
    client.assert_closed()


@pytest.mark.parametrize(("header", "status"), [
    (f"Content-Length: {LIMIT + 1}", 413),
    ("Content-Length: 1000\r\nContent-Encoding: br", 415),
])  # fmt: skip
def test_a_body_that_would_be_refused_is_not_asked_for(
    server: RunningServer, client: RawClient, header: str, status: int
) -> None:
    client.send(head(server, header, EXPECT))
    assert client.receive().status == status
    client.assert_closed()


def test_a_body_is_not_asked_for_in_http_1_0(server: RunningServer, client: RawClient) -> None:
    body = batch(server)
    client.send(head(server, f"Content-Length: {len(body)}", EXPECT, version="HTTP/1.0"))
    assert client.is_silent(0.2)
    client.send(body)
    assert client.receive().status == 202


def test_another_expectation_changes_nothing(server: RunningServer, client: RawClient) -> None:
    client.send(post(server, batch(server), "Expect: the-unexpected"))
    assert client.receive().status == 202


@pytest.mark.parametrize("key", ["wrong", None])
def test_a_refused_body_that_came_unasked_is_read_before_the_answer(
    server: RunningServer, client: RawClient, key: str | None
) -> None:
    size = 8 * LIMIT
    client.send(head(server, f"Content-Length: {size}", EXPECT, key=key) + b" " * LIMIT)
    client.send_parts([b" " * LIMIT] * 7)  # fails when the server closes early
    assert client.receive().status == (413 if key is None else 401)
