"""How long a connection lives, and which of both sides ends it."""

import pytest

from tests.http.messages import PING, PONG, batch, post
from tests.http.raw_client import RawClient
from tests.running_server import RunningServer

PING_1_0 = b"GET /healthz HTTP/1.0\r\n\r\n"


def ping(*headers: bytes, version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"GET /healthz HTTP/" + version, b"Host: x", *headers, b"", b""])


def test_a_connection_serves_many_requests(server: RunningServer, client: RawClient) -> None:
    for _ in range(5):
        client.send(post(server, batch(server)))
        answer = client.receive()
        assert answer.json == {"ok": True, "accepted": 1}
        assert "connection" not in answer.headers
        client.send(PING)
        assert client.receive().json == PONG


def test_empty_lines_between_requests_are_skipped(client: RawClient) -> None:
    for _ in range(3):
        client.send(b"\r\n\r\n" + PING + b"\r\n")
        assert client.receive().json == PONG


@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close", b"close, X-Other"])
def test_a_connection_closes_when_it_is_asked_to(client: RawClient, value: bytes) -> None:
    client.send(ping(b"Connection: " + value))
    assert client.receive().headers["connection"] == "close"
    client.assert_closed()


def test_http_1_0_closes_after_an_answer(client: RawClient) -> None:
    client.send(PING_1_0)
    answer = client.receive()
    assert (answer.json, answer.headers["connection"]) == (PONG, "close")
    client.assert_closed()


def test_http_1_0_keeps_a_connection_on_demand(server: RunningServer, client: RawClient) -> None:
    for _ in range(3):
        client.send(post(server, batch(server), "Connection: Keep-Alive", version="HTTP/1.0"))
        answer = client.receive()
        assert (answer.status, answer.headers["connection"]) == (202, "keep-alive")
    client.send(PING_1_0)
    assert client.receive().headers["connection"] == "close"
    client.assert_closed()


def test_chunks_in_http_1_0_end_the_connection(server: RunningServer, client: RawClient) -> None:
    # RFC 9112, 6.1: a proxy in front may not have understood where such a request ends.
    client.send(ping(b"Connection: keep-alive", b"Transfer-Encoding: chunked", version=b"1.0") + b"0\r\n\r\n")
    assert client.receive().headers["connection"] == "close"
    client.assert_closed()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/swagger-ui.css", "/nothing"])
def test_head_has_the_headers_of_get_and_no_body(client: RawClient, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    client.send(request)
    whole = client.receive()
    client.send(request.replace(b"GET", b"HEAD") + PING)
    headless = client.receive(has_body=False)
    assert headless.status == whole.status
    assert int(headless.headers["content-length"]) == len(whole.body) > 0
    assert set(headless.headers) == set(whole.headers)
    assert client.receive().json == PONG


def test_a_page_that_has_not_changed_is_not_sent_again(client: RawClient) -> None:
    request = b"GET /docs/swagger-ui.css HTTP/1.1\r\nHost: x\r\n\r\n"
    client.send(request)
    tag = client.receive().headers["etag"]
    client.send(request.replace(b"\r\n\r\n", f"\r\nIf-None-Match: {tag}\r\n\r\n".encode()) + PING)
    answer = client.receive(has_body=False)
    assert (answer.status, answer.headers.get("content-length")) == (304, None)
    assert client.receive().json == PONG


def test_an_answer_without_content_has_no_length(server: RunningServer, client: RawClient) -> None:
    client.send(b"OPTIONS /ingest/v1/http-requests HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n" + PING)
    answer = client.receive()
    assert answer.status == 204
    assert "content-length" not in answer.headers
    assert client.receive().json == PONG
