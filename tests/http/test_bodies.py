"""Bodies: in which forms they may come, and what happens to those that do not come as they should."""

import threading
import time

import pytest

from tests.contract.envelope import assert_envelope
from tests.http.messages import INVALID_KEY, NO_HTTP, PING, PONG, batch, chunked, head, post
from tests.http.raw_client import RawClient
from tests.running_server import Answer, RunningServer

LIMIT = 2**20
TOO_LARGE = (413, "PAYLOAD_TOO_LARGE", f"Request body exceeds {LIMIT} bytes")
CUT_OFF = (400, "MALFORMED_REQUEST", "Request body is cut off")


def receive_while_sending(client: RawClient, data: bytes) -> Answer:
    sender = threading.Thread(target=client.offer, args=[data])
    sender.start()
    answer = client.receive()
    sender.join()
    return answer


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_may_come_in_chunks_of_any_size(server: RunningServer, client: RawClient, size: int) -> None:
    client.send(head(server, "Transfer-Encoding: chunked") + chunked(batch(server), size) + PING)
    assert client.receive().status == 202
    assert client.receive().json == PONG


@pytest.mark.parametrize("last", [
    b"0\r\nX-Checksum: 1\r\nX-SeeStack-Key: other\r\nContent-Type: text/plain\r\n\r\n",
    b"0\r\nX-Empty:\r\n\r\n",
    b"000\r\n\r\n",
    b'0;name="value"\r\n\r\n',
])  # fmt: skip
def test_trailers_and_extensions_are_ignored(server: RunningServer, client: RawClient, last: bytes) -> None:
    request = head(server, "Transfer-Encoding: chunked") + chunked(batch(server), 100, last)
    client.send(request * 2 + PING)
    assert [client.receive().status for _ in range(3)] == [202, 202, 200]


def test_a_body_may_come_slowly_and_in_many_pieces(server: RunningServer, client: RawClient) -> None:
    body = batch(server, count=100)
    client.send(head(server, f"Content-Length: {len(body)}"))
    for start in range(0, len(body), 200):
        client.send(body[start : start + 200])
        time.sleep(0.001)
    assert client.receive().json["accepted"] == 100


@pytest.mark.parametrize("mebibytes", [2, 8, 15])
def test_a_large_body_is_refused_while_it_is_sent(server: RunningServer, client: RawClient, mebibytes: int) -> None:
    client.send(head(server, f"Content-Length: {mebibytes * LIMIT}"))
    for _ in range(mebibytes):
        client.send(b" " * LIMIT)  # the server takes all of it: no error here
    assert_envelope(client.receive(), *TOO_LARGE)
    client.send(PING)
    assert client.receive().json == PONG


@pytest.mark.parametrize("mebibytes", [2, 15])
def test_a_large_body_in_chunks_is_refused_while_it_is_sent(
    server: RunningServer, client: RawClient, mebibytes: int
) -> None:
    client.send(head(server, "Transfer-Encoding: chunked"))
    client.send_parts([chunked(b" " * LIMIT, 2**17, b"")] * mebibytes)
    client.send(b"0\r\n\r\n" + PING)
    assert_envelope(client.receive(), *TOO_LARGE)
    assert client.receive().json == PONG


def test_a_large_body_of_a_stranger_is_refused_while_it_is_sent(server: RunningServer, client: RawClient) -> None:
    client.send(head(server, f"Content-Length: {10 * LIMIT}", key="wrong"))
    client.send_parts([b" " * LIMIT] * 10)
    assert_envelope(client.receive(), *INVALID_KEY)


def test_a_body_without_end_is_cut_off(server: RunningServer, client: RawClient) -> None:
    client.send(head(server, "Transfer-Encoding: chunked"))
    assert_envelope(receive_while_sending(client, chunked(b" " * 100 * LIMIT, 2**17, b"")), *TOO_LARGE)
    client.assert_closed()


def test_a_body_that_is_cut_off_is_refused(server: RunningServer, client: RawClient) -> None:
    client.send(post(server, batch(server, "cut-off"))[:-1])
    client.end()
    assert_envelope(client.receive(), *CUT_OFF)
    client.assert_closed()
    assert server.rows("cut-off") == []


def test_chunks_that_are_cut_off_are_refused(server: RunningServer, client: RawClient) -> None:
    client.send(head(server, "Transfer-Encoding: chunked") + chunked(batch(server, "cut-off"), 50, b""))
    client.end()
    assert_envelope(client.receive(), *CUT_OFF)
    client.assert_closed()
    assert server.rows("cut-off") == []


def test_a_cut_off_body_of_a_stranger_is_refused_for_its_key(server: RunningServer, client: RawClient) -> None:
    client.send(head(server, "Content-Length: 100", key="wrong") + b"{")
    client.end()
    assert_envelope(client.receive(), *INVALID_KEY)
    client.assert_closed()


@pytest.mark.parametrize("rest", [
    b"xx\r\nabc\r\n0\r\n\r\n",
    b"-1\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"\r\nabc",
    b"f" * 17 + b"\r\nabc",
    b"3\r\nabc\r\n0\r\nX Y: 1\r\n\r\n",
])  # fmt: skip
def test_broken_chunks_are_refused(server: RunningServer, client: RawClient, rest: bytes) -> None:
    body = batch(server, "broken-chunks")
    follower = post(server, batch(server, "broken-chunks"))
    client.send(head(server, "Transfer-Encoding: chunked") + chunked(body, 100, b"") + rest + follower)
    assert_envelope(client.receive(), *NO_HTTP)
    client.assert_closed()
    assert server.rows("broken-chunks") == []


def test_a_page_does_not_wait_for_a_body(client: RawClient) -> None:
    client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    answer = client.receive()
    assert (answer.json, answer.headers["connection"]) == (PONG, "close")
    client.assert_closed()


def test_a_body_of_a_page_is_no_request(client: RawClient) -> None:
    client.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(PING), PING))
    client.end()
    assert client.receive().json["status"] == "ready"
    client.assert_closed()
