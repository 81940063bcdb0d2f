"""However TCP cuts a request into pieces, it is the same request."""

import gzip
import time
from contextlib import ExitStack

import pytest

from tests.http.messages import PING, PONG, batch, chunked, head, post
from tests.http.raw_client import RawClient
from tests.running_server import RunningServer

UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
KINDS = ["plain", "chunked", "gzip", "upgrade"]
GAP_S = 0.0005  # for the server to read what there is before more comes
CONNECTIONS = 200


def request_of(kind: str, server: RunningServer) -> bytes:
    body = batch(server)
    match kind:
        case "plain":
            return post(server, body, "X-Empty:", "X-Blank: ", "X-Other: 1")
        case "chunked":
            return head(server, "Transfer-Encoding: chunked") + chunked(body, 50, b"0\r\nX-A:\r\nX-B: 1\r\n\r\n")
        case "gzip":
            return post(server, gzip.compress(body), "Content-Encoding: gzip")
        case _:
            return post(server, body, *UPGRADE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_may_come_byte_by_byte(server: RunningServer, client: RawClient, kind: str) -> None:
    request = request_of(kind, server)
    for index in range(len(request)):
        client.send(request[index : index + 1])
        time.sleep(GAP_S)
    assert client.receive().json == {"ok": True, "accepted": 1}
    client.send(PING)
    assert client.receive().json == PONG


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_may_be_cut_in_two_anywhere(server: RunningServer, kind: str) -> None:
    request = request_of(kind, server)
    cuts = list(range(1, len(request)))
    for start in range(0, len(cuts), CONNECTIONS):
        send_cut(server, request, cuts[start : start + CONNECTIONS])


def send_cut(server: RunningServer, request: bytes, cuts: list[int]) -> None:
    """Send the request over one connection for each cut, all at once, so that one pause serves them all."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(server.http_port)) for _ in cuts]
        for client, cut in zip(clients, cuts, strict=True):
            client.send(request[:cut])
        time.sleep(0.05)
        for client, cut in zip(clients, cuts, strict=True):
            client.send(request[cut:] + PING)
        for client in clients:
            assert client.receive().json == {"ok": True, "accepted": 1}
            assert client.receive().json == PONG


def test_the_end_of_a_request_may_come_with_the_beginning_of_the_next(server: RunningServer, client: RawClient) -> None:
    request = post(server, batch(server))
    stream = request * 20
    step = len(request) - 7
    for start in range(0, len(stream), step):
        client.send(stream[start : start + step])
        time.sleep(GAP_S)
    assert [client.receive().status for _ in range(20)] == [202] * 20
