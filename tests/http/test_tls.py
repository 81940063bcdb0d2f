"""HTTP over TLS: clients that break off, stay silent, or speak something else."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask, request

from http_bridge.http1.greenlets import wait
from server.processes import connection_server
from server.processes.tls import open_tls, use_newest
from server.settings import load_settings
from tests.certificates import Authority
from tests.http.in_process import InProcess, count_connections, serve
from tests.patience import PATIENCE_S
from tests.process.polling import wait_until

HANDSHAKE_TIMEOUT_S = 3.0  # in which a client that finishes it can, also where all cores are busy
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
GET_SLOW = GET.replace(b" / ", b" /slow ")
CLIENT_HELLO_BEGINS = bytes.fromhex("16030100c8010000c40303")


def create_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def page() -> str:
        return f"{request.environ['wsgi.url_scheme']} {request.url_root}"

    @app.get("/slow")
    def slow() -> str:
        wait(asyncio.sleep(0.1))
        return "slow"

    return app


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    monkeypatch.setattr(connection_server, "HANDSHAKE_TIMEOUT_S", HANDSHAKE_TIMEOUT_S)
    certificate, key = Authority(tmp_path).issue("server")
    files = open_tls(load_settings(tls_cert=certificate, tls_key=key))
    assert files is not None
    with serve(create_app(), tls=use_newest(files, "http/1.1", lambda _: None)) as in_process:
        yield in_process


@pytest.fixture
def trusting(running: InProcess, tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tmp_path / "ca.pem")


@pytest.fixture
def connect(running: InProcess, trusting: ssl.SSLContext) -> Iterator[Callable[[], ssl.SSLSocket]]:
    with ExitStack() as stack:

        def open_connection() -> ssl.SSLSocket:
            plain = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S)
            return stack.enter_context(trusting.wrap_socket(plain, server_hostname="localhost"))

        yield open_connection


def ask(connection: ssl.SSLSocket, data: bytes = GET) -> bytes:
    connection.sendall(data)
    return connection.recv(65536)


def test_the_application_knows_that_it_is_https(connect: Callable[[], ssl.SSLSocket]) -> None:
    answer = ask(connect())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"https https://x/")


def test_who_does_not_finish_the_handshake_is_dropped(running: InProcess, connect: Callable[[], ssl.SSLSocket]) -> None:
    with ExitStack() as stack:
        stuck = []
        for begun in (b"", CLIENT_HELLO_BEGINS, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100):
            plain = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S)
            stuck.append(stack.enter_context(plain))
            plain.sendall(begun)
        # Nobody else waits for them.
        assert ask(connect()).startswith(b"HTTP/1.1 200")
        assert all(map(is_dropped, stuck))


def is_dropped(connection: socket.socket) -> bool:
    """Wait for the server to close a connection; it may say why in a TLS alert."""
    try:
        return connection.recv(4096)[:1] in (b"", b"\x15")
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("leave", [ssl.SSLSocket.close, lambda client: client.shutdown(socket.SHUT_RDWR)])
def test_a_client_that_leaves_while_it_is_answered_leaves_nothing_behind(
    running: InProcess, connect: Callable[[], ssl.SSLSocket], leave: Callable[[ssl.SSLSocket], None]
) -> None:
    client = connect()
    client.sendall(GET_SLOW)
    leave(client)
    wait_until(lambda: count_connections(running) == 0, "the connection is closed")
    assert ask(connect()).startswith(b"HTTP/1.1 200")


def test_a_farewell_in_tls_while_an_answer_is_due_ends_the_connection(
    running: InProcess, connect: Callable[[], ssl.SSLSocket], caplog: pytest.LogCaptureFixture
) -> None:
    client = connect()
    client.sendall(GET_SLOW)
    client.unwrap().close()
    wait_until(lambda: count_connections(running) == 0, "the connection is closed")
    assert caplog.records == []


def test_an_idle_client_that_takes_no_leave_does_not_delay_a_stop(
    running: InProcess, connect: Callable[[], ssl.SSLSocket]
) -> None:
    client = connect()
    assert ask(client).startswith(b"HTTP/1.1 200")
    running.stop(grace_s=3_600)
