"""Requests whose end two servers could see in different places: refused, and nothing after them is a request."""

import pytest

from tests.contract.envelope import assert_envelope
from tests.http.messages import NO_HTTP, PING, PONG, batch, chunked, head, post
from tests.http.raw_client import RawClient
from tests.running_server import RunningServer

AMBIGUOUS = {
    "length and chunks": ("Content-Length: {length}", "Transfer-Encoding: chunked"),
    "chunks and length": ("Transfer-Encoding: chunked", "Content-Length: {length}"),
    "two lengths": ("Content-Length: {length}", "Content-Length: 0"),
    "the same length twice": ("Content-Length: {length}", "Content-Length: {length}"),
    "two lengths in one header": ("Content-Length: {length}, {length}",),
    "length with a sign": ("Content-Length: +{length}",),
    "negative length": ("Content-Length: -1",),
    "length with an underscore": ("Content-Length: 1_0",),
    "hexadecimal length": ("Content-Length: 0x10",),
    "length with a fraction": ("Content-Length: 1.0",),
    "empty length": ("Content-Length:",),
    "length without end": ("Content-Length: " + "9" * 40,),
    "unknown coding": ("Transfer-Encoding: xchunked",),
    "no coding": ("Transfer-Encoding: identity",),
    "coding not last": ("Transfer-Encoding: chunked, gzip",),
    "coding twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "vertical tab before the coding": ("Transfer-Encoding: \x0bchunked",),
    "folded coding": ("Transfer-Encoding:", " chunked"),
    "folded header": ("X-Other: a", " Content-Length: {length}"),
    "space before a colon": ("Content-Length : {length}",),
    "tab before a colon": ("Transfer-Encoding\t: chunked",),
    "space before a name": (" Content-Length: {length}",),
    "no colon": ("Content-Length {length}",),
    "no name": (": {length}",),
    "space in a name": ("Content Length: {length}",),
    "NUL in a value": ("X-Other: a\0b", "Content-Length: {length}"),
    "bare carriage return": ("X-Other: a\rContent-Length: {length}",),
    "bare line feed": ("X-Other: a\nContent-Length: {length}",),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_head_is_refused(server: RunningServer, client: RawClient, name: str) -> None:
    trace_id = f"smuggled: {name}"
    body = chunked(batch(server, trace_id), 2**16)
    headers = [header.format(length=len(body)) for header in AMBIGUOUS[name]]
    client.send(head(server, *headers) + body + post(server, batch(server, trace_id)))
    assert_envelope(client.receive(), *NO_HTTP)
    client.assert_closed()
    assert server.rows(trace_id) == []


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\r"])
def test_a_head_that_ends_otherwise_than_by_an_empty_line_is_refused(
    server: RunningServer, client: RawClient, end: bytes
) -> None:
    follower = post(server, batch(server, "smuggled behind an end"))
    client.send(PING + PING.removesuffix(b"\r\n\r\n") + end + follower)
    assert client.receive().json == PONG
    assert_envelope(client.receive(), *NO_HTTP)
    client.assert_closed()
    assert server.rows("smuggled behind an end") == []


@pytest.mark.parametrize("line", [
    b"GET /healthz HTTP/1.1\n",
    b"GET /healthz HTTP/1.1 \r\n",
    b"GET /healthz\r\n",
    b"GET /healthz HTTP/0.9\r\n",
    b"GET /healthz HTTP/2.0\r\n",
    b"GET /healthz HTTP/3.0\r\n",
    b"GET /healthz http/1.1\r\n",
    b"GET /healthz HTTP/1.10\r\n",
    b" GET /healthz HTTP/1.1\r\n",
    b"GET\t/healthz\tHTTP/1.1\r\n",
])  # fmt: skip
def test_a_broken_request_line_is_refused(client: RawClient, line: bytes) -> None:
    client.send(line + b"Host: x\r\n\r\n" + PING)
    answer = client.receive()
    assert_envelope(answer, *NO_HTTP)
    assert answer.headers["connection"] == "close"
    client.assert_closed()


@pytest.mark.parametrize("name", ["X_SeeStack_Key", "X-SeeStack_Key", "HTTP_X_SeeStack_Key", "X.SeeStack.Key"])
def test_a_header_that_only_looks_like_the_key_is_not_the_key(
    server: RunningServer, client: RawClient, name: str
) -> None:
    request = post(server, batch(server))
    client.send(request.replace(b"X-SeeStack-Key", name.encode()) + request)
    assert [client.receive().status for _ in range(2)] == [401, 202]


def test_two_keys_are_no_key(server: RunningServer, client: RawClient) -> None:
    client.send(post(server, batch(server), f"X-SeeStack-Key: {server.api_key}") + PING)
    assert [client.receive().status for _ in range(2)] == [401, 200]


@pytest.mark.parametrize("name", ["Content_Length", "Transfer_Encoding", "Content_Type", "Host_"])
def test_a_header_with_an_underscore_means_nothing(server: RunningServer, client: RawClient, name: str) -> None:
    client.send(post(server, batch(server), f"{name}: 1") + PING)
    assert [client.receive().status for _ in range(2)] == [202, 200]
