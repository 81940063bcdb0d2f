"""How large a head may be."""

import time
from collections.abc import Callable

import pytest

from tests.contract.envelope import assert_envelope
from tests.http.messages import PING, PONG, batch, chunked, head, post
from tests.http.raw_client import RawClient
from tests.running_server import RunningServer

LIMIT = 2**16
TOO_LARGE = (400, "MALFORMED_REQUEST", f"Request headers exceed {LIMIT} bytes")

LARGE: dict[str, Callable[[int], list[str]]] = {
    "one header": lambda size: ["X-Large: " + "x" * size],
    "many headers": lambda size: [f"X-{number:05}: 12345" for number in range(size // 16)],
    "header name": lambda size: ["X" * size + ": 1"],
}


@pytest.mark.parametrize("name", LARGE)
def test_a_head_within_the_limit_is_read(server: RunningServer, client: RawClient, name: str) -> None:
    client.send(post(server, batch(server), *LARGE[name](60_000)) + PING)
    assert client.receive().status == 202
    assert client.receive().json == PONG


@pytest.mark.parametrize("size", [LIMIT, 2 * LIMIT, 10 * LIMIT])
@pytest.mark.parametrize("name", LARGE)
def test_a_larger_head_is_refused_however_it_comes(
    server: RunningServer, client: RawClient, name: str, size: int
) -> None:
    request = post(server, batch(server, "large-head"), *LARGE[name](size))
    client.offer(request + request)
    assert_envelope(client.receive(), *TOO_LARGE)
    client.assert_closed()
    assert server.rows("large-head") == []


def test_a_larger_head_is_refused_when_it_comes_in_pieces(server: RunningServer, client: RawClient) -> None:
    request = post(server, batch(server), "X-Large: " + "x" * LIMIT)
    for start in range(0, len(request), 5000):
        client.offer(request[start : start + 5000])
        time.sleep(0.001)
    assert_envelope(client.receive(), *TOO_LARGE)
    client.assert_closed()


def test_a_large_target_is_refused(client: RawClient) -> None:
    client.offer(b"GET /" + b"x" * LIMIT + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert_envelope(client.receive(), *TOO_LARGE)
    client.assert_closed()


def test_a_head_without_end_is_refused_before_it_is_all_sent(client: RawClient) -> None:
    client.offer(b"GET / HTTP/1.1\r\nX-Large: " + b"x" * 10 * LIMIT)
    assert_envelope(client.receive(), *TOO_LARGE)
    client.assert_closed()


def test_many_heads_of_one_connection_are_not_summed_up(server: RunningServer, client: RawClient) -> None:
    request = post(server, batch(server), "X-Large: " + "x" * 20_000)
    client.send(request * 8)
    assert [client.receive().status for _ in range(8)] == [202] * 8


def test_trailers_have_a_limit_too(server: RunningServer, client: RawClient) -> None:
    request = head(server, "Transfer-Encoding: chunked") + chunked(batch(server, "large-trailer"), 100, b"0\r\n")
    client.send(request + b"X-Large: ")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        client.send_parts([b"x" * LIMIT] * 400)
    assert server.rows("large-trailer") == []
