"""Connections that misbehave, many at once: a server of its own with few open files to begin with goes on serving."""

import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from server.grpc.handlers import GrpcIngestService
from tests.batches import make_batch
from tests.fuzz.http2_connections import (
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call_headers,
    frame,
    grpc_message,
    header_block,
)
from tests.grpc_client import SERVICE, ReflectingClient
from tests.http.messages import PING as HTTP_PING
from tests.http.messages import PONG
from tests.http.raw_client import RawClient
from tests.log_lines import levels_in
from tests.process.polling import children_of, wait_until
from tests.running_server import RunningServer, start_server

SOFT_LIMIT = 256
IDLE_CONNECTIONS = 1000
SPARE_DESCRIPTORS = 300
EACH = 10
SENT_UNREAD = 100
INITIAL_WINDOW_SIZE = 4  # the identifier of that setting (RFC 9113, 6.5.2)
OPENING = PREFACE + frame(SETTINGS, 0, 0, b"")
ENDLESS_STREAM = frame(HEADERS, END_HEADERS, 1, header_block(call_headers()))

GRPC_CLIENTS: dict[str, bytes] = {
    "says nothing": b"",
    "stops in the preface": PREFACE[:10],
    "speaks HTTP/1.1": HTTP_PING,
    "sends rubbish": bytes(range(256)) * 40,
    "sends no message": OPENING + ENDLESS_STREAM,
    "sends half a message": OPENING + ENDLESS_STREAM + frame(DATA, 0, 1, grpc_message(b"x" * 100)[:50]),
    "promises 4 GiB": OPENING + ENDLESS_STREAM + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff"),
    "resets its calls": OPENING
    + b"".join(
        frame(HEADERS, END_HEADERS, stream, header_block(call_headers())) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 401, 2)
    ),
    "pings without end": OPENING + frame(PING, 0, 0, b"12345678") * 500,
    "says goodbye": OPENING + ENDLESS_STREAM + frame(GOAWAY, 0, 0, b"\0" * 8),
    "has a window too large": OPENING + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "sends headers without end": OPENING + frame(HEADERS, 0, 1, header_block(call_headers())),
    "sends a frame too large": OPENING + b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 1000,
}


@contextmanager
def soft_limit(count: int) -> Iterator[None]:
    """Let programs that are started begin with so few open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def _descriptors() -> Iterator[None]:
    """Let this process open as many sockets as are needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * IDLE_CONNECTIONS + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def assert_served(server: RunningServer) -> None:
    """Check that batches are taken over both protocols."""
    body = make_batch(server.project_id)
    assert server.post(body).status == 202
    assert ReflectingClient(server.channel()).ingest(body, {"x-seestack-key": server.api_key})["accepted"] == 1


@pytest.mark.usefixtures("_descriptors")
def test_a_thousand_idle_connections_of_each_protocol_are_held_whatever_the_soft_limit_of_open_files(
    database_url: str,
) -> None:
    with ExitStack() as stack:
        with soft_limit(SOFT_LIMIT):
            server = stack.enter_context(start_server(database_url))
        over_http = [stack.enter_context(RawClient(server.http_port)) for _ in range(IDLE_CONNECTIONS)]
        over_grpc = [stack.enter_context(RawClient(server.grpc_port)) for _ in range(IDLE_CONNECTIONS)]
        for client in over_grpc:
            client.send(OPENING)
        for client in over_http:
            client.send(HTTP_PING)
        for client in over_http:
            assert client.receive().json == PONG
        for client in over_grpc:
            assert client.socket.recv(9)[3] == SETTINGS
        assert_served(server)


@pytest.mark.parametrize("leave", [RawClient.reset, lambda client: client.socket.close()], ids=["reset", "close"])
def test_grpc_clients_that_misbehave_harm_nobody(server: RunningServer, leave: Callable[[RawClient], None]) -> None:
    workers, logged = children_of(server.process.pid), len(server.log.read_text())
    clients = [RawClient(server.grpc_port) for _ in range(EACH) for _ in GRPC_CLIENTS]
    for client, data in zip(clients, list(GRPC_CLIENTS.values()) * EACH, strict=True):
        client.offer(data)
    assert_served(server)
    for client in clients:
        leave(client)
    assert_served(server)
    assert children_of(server.process.pid) == workers
    # Calls that were reset are told of where the server had begun them.
    assert levels_in(server.log.read_text()[logged:]) <= {"info"}


def test_a_stream_whose_client_does_not_read_is_not_read_on_either(server: RunningServer) -> None:
    batches = [make_batch(server.project_id, traceId="unread") for _ in range(SENT_UNREAD)]
    encode = ReflectingClient(server.channel()).encode
    headers = [(name, value) for name, value in call_headers() if name not in (b":path", b"x-seestack-key")]
    headers.insert(2, (b":path", f"/{SERVICE}/StreamHttpRequests".encode()))
    headers.append((b"x-seestack-key", server.api_key.encode()))
    no_window = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
    with RawClient(server.grpc_port) as client:
        client.send(PREFACE + no_window + frame(HEADERS, END_HEADERS, 1, header_block(headers)))
        client.send(b"".join(frame(DATA, 0, 1, grpc_message(encode(batch))) for batch in batches))
        wait_until(lambda: len(server.rows("unread")) >= GrpcIngestService.MAX_AHEAD, "the first batches are stored")
        assert_served(server)
        assert len(server.rows("unread")) < 2 * GrpcIngestService.MAX_AHEAD
    assert_served(server)
