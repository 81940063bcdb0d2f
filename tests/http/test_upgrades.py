"""Requests that offer another protocol: they are answered as plain HTTP/1.1."""

import pytest

from tests.http.messages import PING, PONG, batch, chunked, head, post
from tests.http.raw_client import RawClient
from tests.running_server import RunningServer

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")


def upgrade(*headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    lines = [b"GET /healthz " + version, b"Host: x", b"Upgrade: websocket", *headers, b"", b""]
    return b"\r\n".join(lines)


def test_a_body_of_such_a_request_is_read(server: RunningServer, client: RawClient) -> None:
    for _ in range(2):
        client.send(post(server, batch(server), *H2C))
        answer = client.receive()
        assert answer.json == {"ok": True, "accepted": 1}
        assert "upgrade" not in answer.headers
    client.send(PING)
    assert client.receive().json == PONG


def test_a_body_of_such_a_request_may_come_later(server: RunningServer, client: RawClient) -> None:
    body = batch(server)
    client.send(head(server, f"Content-Length: {len(body)}", *H2C))
    assert client.is_silent(0.05)
    client.send(body + PING)
    assert [client.receive().status for _ in range(2)] == [202, 200]


def test_a_body_of_such_a_request_may_be_asked_for(server: RunningServer, client: RawClient) -> None:
    client.send(head(server, "Transfer-Encoding: chunked", "Expect: 100-continue", *H2C))
    client.receive_interim()
    client.send(chunked(batch(server), 100))
    assert client.receive().status == 202


def test_many_such_requests_may_come_at_once(client: RawClient) -> None:
    client.send(upgrade(b"Connection: Upgrade") * 1000 + PING)
    assert [client.receive().status for _ in range(1001)] == [200] * 1001


@pytest.mark.parametrize("connection", [b"Upgrade, close", b"close, Upgrade"])
def test_a_connection_closes_when_it_is_asked_to(client: RawClient, connection: bytes) -> None:
    client.send(upgrade(b"Connection: " + connection))
    answer = client.receive()
    assert (answer.status, answer.headers.get("connection")) == (200, "close")
    client.assert_closed()


def test_a_request_of_http_1_0_cannot_upgrade_to_http_1_1(client: RawClient) -> None:
    client.send(upgrade(b"Connection: Upgrade", version=b"HTTP/1.0"))
    answer = client.receive()
    assert (answer.status, answer.headers.get("connection")) == (200, "close")
    client.assert_closed()


def test_http_2_with_prior_knowledge_is_refused(client: RawClient) -> None:
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04")
    assert client.receive().status == 400
    client.assert_closed()
