"""Request targets in all their forms, and the Host header (RFC 9112, 3.2)."""

import pytest

from tests.contract.envelope import assert_envelope
from tests.http.messages import PING, PONG, batch, head
from tests.http.raw_client import RawClient
from tests.running_server import INGEST_PATH, RunningServer

HOST_MISSING = (400, "MALFORMED_REQUEST", "Request must have one Host header")
NOT_FOUND = (404, "NOT_FOUND", "Not found")


@pytest.mark.parametrize("target", [
    f"http://somewhere.example{INGEST_PATH}",
    f"http://somewhere.example:8080{INGEST_PATH}?query=1",
    f"HTTPS://[::1]:8080{INGEST_PATH}",
    f"{INGEST_PATH}?",
    f"{INGEST_PATH}?a=b&c=%ff#fragment",
    INGEST_PATH.replace("i", "%69").replace("-", "%2D"),
    INGEST_PATH.replace("i", "%69").replace("-", "%2d"),
])  # fmt: skip
def test_a_target_in_another_form_is_the_same_endpoint(server: RunningServer, client: RawClient, target: str) -> None:
    body = batch(server)
    client.send(head(server, f"Content-Length: {len(body)}", target=target) + body + PING)
    assert client.receive().status == 202
    assert client.receive().json == PONG


@pytest.mark.parametrize("target", ["http://somewhere.example", "/%", "/%zz", "/%C3%A9", "/?/healthz", "//healthz"])
def test_an_unknown_target_is_a_404(client: RawClient, target: str) -> None:
    client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + PING)
    assert_envelope(client.receive(), *NOT_FOUND)
    assert client.receive().json == PONG


@pytest.mark.parametrize("target", [
    b"healthz", b"/\xff", b"/a b", b"", b"http:", b"http://[::1", b"http://a:b:c/", b"http://a:99999/",
])  # fmt: skip
def test_what_is_no_target_is_refused(client: RawClient, target: bytes) -> None:
    client.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n" + PING)
    answer = client.receive()
    assert_envelope(answer, 400, "MALFORMED_REQUEST", answer.json["error"]["message"])
    client.assert_closed()


def test_options_of_the_server_as_a_whole_is_answered(client: RawClient) -> None:
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + PING)
    assert client.receive().status < 500
    assert client.receive().json == PONG


def test_this_is_no_proxy(client: RawClient) -> None:
    client.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n" + PING)
    assert_envelope(client.receive(), 400, "MALFORMED_REQUEST", "This server is not a proxy")
    client.assert_closed()


@pytest.mark.parametrize("hosts", [[], ["a", "a"], ["a", "b"], ["", ""]])
def test_a_request_without_one_host_is_refused(server: RunningServer, client: RawClient, hosts: list[str]) -> None:
    body = batch(server, "wrong-host")
    head_with_host = head(server, f"Content-Length: {len(body)}")
    lines = "".join(f"Host: {host}\r\n" for host in hosts).encode()
    client.send(head_with_host.replace(b"Host: x\r\n", lines) + body + head_with_host + body)
    assert_envelope(client.receive(), *HOST_MISSING)
    client.assert_closed()
    assert server.rows("wrong-host") == []


def test_a_refused_host_before_half_a_request_is_refused_at_once(server: RunningServer, client: RawClient) -> None:
    client.send(b"GET /healthz HTTP/1.1\r\n\r\n" + head(server, "Content-Length: 100"))
    assert_envelope(client.receive(), *HOST_MISSING)
    client.assert_closed()


@pytest.mark.parametrize("host", ["", "[::1]:80", "a b", "a/b", "a,b", "ü", "[", "x:99999", "@", "x" * 64, "a..b"])
def test_any_one_host_will_do(client: RawClient, host: str) -> None:
    client.send(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
    assert client.receive().json == PONG
