"""Clients that disconnect: at any moment, in good order or not."""

import time
from collections.abc import Callable

import pytest

from tests.http.messages import PING, PONG, batch, head, post
from tests.http.raw_client import RawClient
from tests.log_lines import levels_in
from tests.process.polling import wait_until
from tests.running_server import RunningServer

LARGE_PAGE = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
EXPECT = "Expect: 100-continue"

# What a client has sent when it disconnects.
MOMENTS: dict[str, Callable[[RunningServer], bytes]] = {
    "before anything": lambda server: b"",
    "in a method": lambda server: b"PO",
    "in a head": lambda server: head(server)[:-10],
    "before a body": lambda server: head(server, "Content-Length: 100"),
    "in a body": lambda server: post(server, batch(server))[:-10],
    "in chunks": lambda server: head(server, "Transfer-Encoding: chunked") + b"5\r\nabc",
    "in a body of a stranger": lambda server: head(server, "Content-Length: 100", key="wrong") + b"{",
    "when it is asked for a body": lambda server: head(server, "Content-Length: 100", EXPECT),
    "before an answer": lambda server: post(server, batch(server)),
    "before many answers": lambda server: post(server, batch(server)) * 5 + PING * 50,
    "before a large answer": lambda server: LARGE_PAGE * 10,
    "before a refusal": lambda server: post(server, batch(server)) + b"rubbish",
    "before a close": lambda server: post(server, batch(server), "Connection: close"),
}


@pytest.mark.parametrize("leave", [RawClient.reset, lambda client: client.socket.close()], ids=["reset", "close"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_client_that_disconnects_harms_no_other(
    server: RunningServer, client: RawClient, moment: str, leave: Callable[[RawClient], None]
) -> None:
    logged = len(server.log.read_text())
    for number in range(10):
        leaving = RawClient(server.http_port)
        leaving.send(MOMENTS[moment](server))
        time.sleep(0.001 * (number % 4))
        leave(leaving)
        client.send(PING)
        assert client.receive().json == PONG
    time.sleep(0.05)
    assert levels_in(server.log.read_text()[logged:]) <= {"info"}


def test_a_batch_is_stored_although_its_client_went_away(server: RunningServer) -> None:
    with RawClient(server.http_port) as client:
        client.send(post(server, batch(server, "gone before the answer")))
        client.end()
    wait_until(lambda: len(server.rows("gone before the answer")) == 1, "the batch is stored")


def test_an_answer_comes_although_the_client_has_ended_its_side(server: RunningServer, client: RawClient) -> None:
    client.send(post(server, batch(server)))
    client.end()
    answer = client.receive()
    assert answer.json == {"ok": True, "accepted": 1}
    client.assert_closed()


@pytest.mark.parametrize("data", [b"", PING[:-1], b"\r\n", b"G"])
def test_a_connection_that_ends_between_requests_is_closed_silently(client: RawClient, data: bytes) -> None:
    client.send(PING + data)
    assert client.receive().json == PONG
    client.end()
    client.assert_closed()


def test_a_large_answer_is_sent_whole_to_a_client_that_has_ended_its_side(server: RunningServer) -> None:
    with RawClient(server.http_port, receive_buffer=4096) as client:
        client.send(LARGE_PAGE)
        client.end()
        time.sleep(0.05)  # what does not fit the buffers of both systems waits in the server
        assert len(client.receive().body) > 1_000_000
        client.assert_closed()
