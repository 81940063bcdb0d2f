"""What is not HTTP at all."""

import random
import socket
import ssl

import pytest

from tests.contract.envelope import assert_envelope
from tests.http.messages import NO_HTTP, PING, PONG
from tests.http.raw_client import RawClient
from tests.log_lines import levels_in
from tests.running_server import RunningServer


def client_hello() -> bytes:
    """Return the first bytes that a browser sends for https."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


RUBBISH = {
    "TLS": client_hello(),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "JSON": b'{"projectId": "x"}\r\n\r\n',
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "text": b"hello\r\n\r\n",
    "NUL": b"\0",
}


@pytest.mark.parametrize("name", RUBBISH)
def test_what_is_no_http_is_refused(client: RawClient, name: str) -> None:
    client.send(RUBBISH[name] + PING)
    answer = client.receive()
    assert_envelope(answer, *NO_HTTP)
    assert answer.headers["connection"] == "close"
    client.assert_closed()


def test_rubbish_is_refused_although_the_client_has_ended_its_side(server: RunningServer) -> None:
    for _ in range(50):
        with RawClient(server.http_port) as client:
            client.send(b"\0")
            client.end()
            assert_envelope(client.receive(), *NO_HTTP)
            client.assert_closed()


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(server: RunningServer, seed: int) -> None:
    generator = random.Random(seed)
    # None of these begins a method, nor is it an empty line.
    data = bytes([generator.choice(b"\1\x7f\x80\xff(")]) + generator.randbytes(generator.randint(0, 5000))
    with RawClient(server.http_port) as client:
        client.send(data)
        assert_envelope(client.receive(), *NO_HTTP)
        client.assert_closed()


@pytest.mark.parametrize("seed", range(40))
def test_a_request_with_random_changes_gets_an_answer_or_a_close(server: RunningServer, seed: int) -> None:
    generator = random.Random(seed)
    data = bytearray(PING * 3)
    for _ in range(generator.randint(1, 4)):
        data[generator.randrange(len(data))] = generator.randrange(256)
    with RawClient(server.http_port) as client:
        client.send(bytes(data))
        client.end()
        received = b"".join(iter(lambda: read(client.socket), b""))
        assert received.count(b"HTTP/1.1 ") <= 3
        assert b"HTTP/1.1 5" not in received


def read(connection: socket.socket) -> bytes:
    try:
        return connection.recv(2**16)
    except ConnectionResetError:
        return b""


def test_rubbish_does_not_harm_others(server: RunningServer, client: RawClient) -> None:
    logged = len(server.log.read_text())
    for rubbish in RUBBISH.values():
        with RawClient(server.http_port) as other:
            other.send(rubbish)
            client.send(PING)
            assert client.receive().json == PONG
    assert levels_in(server.log.read_text()[logged:]) <= {"info"}
