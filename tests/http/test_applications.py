"""The server in front of applications other than its own: what PEP 3333 says, and what goes wrong."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request

from http_bridge.http1.environ import Environ
from http_bridge.http1.greenlets import wait
from tests.http.in_process import count_connections, serve
from tests.http.raw_client import RawClient
from tests.process.polling import wait_until

StartResponse = Callable[..., Any]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def post(path: bytes, size: int) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path, size)


def create_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def page() -> str:
        return "x"

    @app.post("/read/<int:size>")
    def read(size: int) -> bytes:
        data: bytes = wait(request.environ["wsgi.input"].read(size))
        return data

    @app.get("/fail")
    def fail() -> str:
        wait(asyncio.sleep(0.01))
        raise ValueError("this was to be expected")

    @app.get("/wait/<int:milliseconds>")
    def pause(milliseconds: int) -> str:
        wait(asyncio.sleep(milliseconds / 1000))
        return str(milliseconds)

    return app


@pytest.fixture
def client() -> Iterator[RawClient]:
    with serve(create_app()) as running, RawClient(running.port) as connected:
        yield connected


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the environment."""
    start_response("200 OK", [("X-One", "1"), ("X-Two", "2")])
    return [f"{name}={value}\n".encode() for name, value in environ.items() if isinstance(value, str)]


def fail(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("this was to be expected")
    start_response("200 OK", [])
    return [b"x"]


def fail_late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/fail":
        return map(int, ["x"])  # type: ignore[arg-type]
    return [b"x"]


def forget(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/fail":
        start_response("200 OK", [])
    return [b"x"]


class Closing:
    """An answer that notes that it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return self

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"a", b"", b"b"])

    def close(self) -> None:
        self.closed += 1


def test_an_environment_holds_what_was_sent() -> None:
    with serve(echo) as running, RawClient(running.port) as client:
        client.send(b"PUT /a%20b%C3%A9?c=%20&d HTTP/1.1\r\nHost: h:1\r\nX-Two: a\r\nx-two:b\r\nContent-Type: t\r\n"
                    b"X_Three: 3\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n")  # fmt: skip
        answer = client.receive()
    assert (answer.headers["x-one"], answer.headers["x-two"]) == ("1", "2")
    environ = dict(line.split("=", 1) for line in answer.body.decode().splitlines())
    assert {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_"))} == {
        "HTTP_HOST": "h:1",
        "HTTP_X_TWO": "a,b",
        "HTTP_X\0THREE": "3",
        "HTTP_X_EMPTY": "",
        "CONTENT_TYPE": "t",
        "CONTENT_LENGTH": "0",
    }
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/a b\xc3\xa9", "c=%20&d")
    assert (environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"]) == ("PUT", "HTTP/1.1")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(running.port))
    assert (environ["REMOTE_ADDR"], environ["SCRIPT_NAME"]) == ("127.0.0.1", "")


def test_space_around_a_value_is_no_part_of_it() -> None:
    with serve(echo) as running, RawClient(running.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h \r\nX-One: \t a b \t \r\nContent-Type: t \r\n\r\n")
        lines = client.receive().body.decode().splitlines()
    assert {"HTTP_HOST=h", "HTTP_X_ONE=a b", "CONTENT_TYPE=t"} <= set(lines)


def test_an_answer_is_closed_when_it_was_sent() -> None:
    application = Closing()
    with serve(application) as running, RawClient(running.port) as client:
        for count in (1, 2):
            client.send(GET)
            assert client.receive().body == b"ab"
            assert application.closed == count


@pytest.mark.parametrize("application", [fail, fail_late, forget])
def test_a_failing_application_costs_its_connection_and_no_other(
    application: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(application) as running, RawClient(running.port) as client, RawClient(running.port) as other:
        client.send(GET + GET.replace(b" / ", b" /fail ") + GET)
        assert client.receive().body == b"x"
        client.assert_closed()
        other.send(GET)
        assert other.receive().body == b"x"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_an_exception_of_a_view_is_an_answer(client: RawClient) -> None:
    client.send(GET.replace(b" / ", b" /fail ") + GET)
    assert [client.receive().status for _ in range(2)] == [500, 200]


def test_a_body_that_is_read_in_part_ends_the_connection_only_if_more_is_to_come(client: RawClient) -> None:
    client.send(post(b"/read/3", 6) + b"abcdef" + post(b"/read/3", 6) + b"abcd")
    answers = [client.receive(), client.receive()]
    assert [answer.body for answer in answers] == [b"abc", b"abc"]
    assert ["connection" in answer.headers for answer in answers] == [False, True]
    client.assert_closed()


@pytest.mark.parametrize(("wanted", "sent"), [(0, 3), (3, 3), (10, 3), (200_000, 150_000), (10, 150_000)])
def test_a_body_is_read_as_far_as_it_is_wanted(client: RawClient, wanted: int, sent: int) -> None:
    client.send(post(b"/read/%d" % wanted, sent) + b"x" * sent)
    assert client.receive().body == b"x" * min(wanted, sent)


def test_a_slow_application_holds_up_its_own_connection_only() -> None:
    with serve(create_app()) as running, RawClient(running.port) as slow, RawClient(running.port) as fast:
        slow.send(GET.replace(b" / ", b" /wait/300 ") + GET)
        for _ in range(10):
            fast.send(GET)
            assert fast.receive().body == b"x"
        assert slow.is_silent(0)
        assert [slow.receive().body for _ in range(2)] == [b"300", b"x"]


def test_answers_of_many_connections_are_not_mixed_up() -> None:
    with serve(create_app()) as running:
        clients = [RawClient(running.port) for _ in range(60)]
        for number, client in enumerate(clients):
            waits = [(number * 7 + step * 13) % 40 for step in range(5)]
            client.send(b"".join(GET.replace(b" / ", b" /wait/%d " % wait) for wait in waits))
        for number, client in enumerate(clients):
            expected = [b"%d" % ((number * 7 + step * 13) % 40) for step in range(5)]
            assert [client.receive().body for _ in range(5)] == expected
            client.socket.close()


def test_a_header_that_is_no_latin_1_costs_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)
    app.get("/")(lambda: Response("x", headers={"X-Name": request.args.get("name", "x")}))
    with serve(app) as running, RawClient(running.port) as client, RawClient(running.port) as other:
        client.send(GET.replace(b" / ", b" /?name=%E2%82%AC "))
        client.assert_closed()
        other.send(GET)
        assert other.receive().body == b"x"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_requests_of_a_client_that_went_away_are_not_begun() -> None:
    begun: list[str] = []
    release = threading.Event()
    app = Flask(__name__)

    @app.get("/<name>")
    def note(name: str) -> str:
        begun.append(name)
        while not release.is_set():
            wait(asyncio.sleep(0.001))
        return "x"

    with serve(app) as running:
        client = RawClient(running.port)
        client.send(GET.replace(b" / ", b" /first ") + GET.replace(b" / ", b" /second "))
        wait_until(lambda: begun != [], "the first request is begun")
        client.reset()
        wait_until(lambda: count_connections(running) == 0, "the connection is closed")
        release.set()
        with RawClient(running.port) as other:
            other.send(GET.replace(b" / ", b" /other "))
            assert other.receive().status == 200
    assert begun == ["first", "other"]


def test_a_body_of_any_length_is_sent_in_chunks_as_it_is_made_and_no_faster_than_it_is_read() -> None:
    made: list[int] = []

    def endless(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        for number in range(3 if environ["PATH_INFO"] == "/short" else 100_000):
            made.append(number)
            yield b"%05d" % number * 1000

    with serve(endless) as running, RawClient(running.port) as client:
        client.send(GET.replace(b" / ", b" /short ") * 2)
        for _ in range(2):
            assert client.receive().body == b"00000" * 1000 + b"00001" * 1000 + b"00002" * 1000
        client.send(GET)
        counts = [0]

        def has_paused() -> bool:
            counts.append(len(made))
            return counts[-1] == counts[-2] > 10

        wait_until(has_paused, "it waits for its reader")
        assert counts[-1] < 50_000


def test_a_body_of_any_length_ends_with_the_connection_for_older_clients() -> None:
    def stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"a"
        yield b"b"

    with serve(stream) as running, RawClient(running.port) as client:
        client.send(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = client.receive()
        assert "transfer-encoding" not in answer.headers
        assert client.receive_rest() == b"ab"
