"""Sends inputs over HTTP/1.1: bodies in well-formed requests, or whatever else a connection may bring."""

import asyncio
import json
import re
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from tests.fuzz.identity import RAW_KEY
from tests.fuzz.judgement import problem_of_http
from tests.fuzz.outcome import Outcome, rows_of_json
from tests.patience import PATIENCE_S
from tests.running_server import INGEST_PATH

CONNECTIONS = 16
PIPELINED = 8

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]*\r\n((?:[A-Za-z-]+: ?[^\r\n\0]*\r\n)*)\r\n")
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
_REQUEST = (
    f"POST {INGEST_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-SeeStack-Key: {RAW_KEY}\r\n"
    "Content-Length: %d\r\n\r\n"
).encode()


class HttpAnswer(NamedTuple):
    """An answer, and where the next one begins."""

    status: int
    headers: dict[str, str]
    body: bytes
    end: int


async def send_bodies(port: int, bodies: Sequence[bytes]) -> list[Outcome]:
    """Send each body as a well-formed request, several in a row over connections that are kept."""
    outcomes: list[Outcome | None] = [None] * len(bodies)
    waiting = deque(range(0, len(bodies), PIPELINED))

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            if writer.is_closing():
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            start = waiting.popleft()
            group = bodies[start : start + PIPELINED]
            writer.write(b"".join(_REQUEST % len(body) + body for body in group))
            for index, body in enumerate(group, start):
                outcomes[index] = await _receive_one(reader, body)
        writer.close()

    await asyncio.gather(*(send() for _ in range(min(CONNECTIONS, len(waiting)))))
    return [outcome for outcome in outcomes if outcome is not None]


async def send_connections(port: int, inputs: Sequence[bytes]) -> list[Outcome]:
    """Send each input over a connection of its own, and read until the server closes it."""
    turns = asyncio.Semaphore(CONNECTIONS)

    async def send(data: bytes) -> Outcome:
        async with turns:
            try:
                return judge_connection(await _exchange(port, data))
            except TimeoutError:
                return Outcome(("none",), problem=f"the connection was not closed within {PATIENCE_S:g} s")

    return await asyncio.gather(*map(send, inputs))


async def _exchange(port: int, data: bytes) -> bytes:
    """Send `data` and the end of the connection, and return all that comes back. Raises TimeoutError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(data)
            writer.write_eof()
            while chunk := await reader.read(2**16):
                received += chunk
    except TimeoutError:
        raise
    except OSError:
        pass  # the server closed before it had read all
    finally:
        writer.close()
    return received


def judge_connection(received: bytes) -> Outcome:
    """Return what became of a connection that brought these bytes back."""
    answers: list[str] = []
    accepted = start = 0
    while start < len(received):
        if received.startswith(_INTERIM, start):
            start += len(_INTERIM)
            continue
        answer = _take(received, start)
        if answer is None:
            return Outcome(tuple(answers), accepted, problem=f"no HTTP: {received[start : start + 300]!r}")
        answers.append(str(answer.status))
        if problem := problem_of_http(answer.status, answer.headers, answer.body):
            return Outcome(tuple(answers), accepted, problem=problem)
        if answer.status == 202:
            accepted += json.loads(answer.body)["accepted"]
        start = answer.end
    return Outcome(tuple(answers) or ("closed",), accepted)


async def _receive_one(reader: asyncio.StreamReader, body: bytes) -> Outcome:
    try:
        async with asyncio.timeout(PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            match = _HEAD.fullmatch(head)
            if match is None:
                return Outcome((), problem=f"no HTTP: {head!r}")
            headers = _headers(match[2])
            received = await reader.readexactly(int(headers["content-length"]))
    except (ConnectionError, asyncio.IncompleteReadError, TimeoutError) as error:
        return Outcome(("none",), problem=f"no answer: {error!r}")
    status = int(match[1])
    problem = problem_of_http(status, headers, received)
    if problem or status != 202:
        return Outcome((match[1].decode(),), problem=problem)
    accepted = json.loads(received)["accepted"]
    try:
        rows = rows_of_json(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Outcome(("202",), accepted, problem=f"accepted, but it is no batch: {error!r}")
    return Outcome(("202",), accepted, rows, None if accepted == len(rows) else f"{accepted} accepted of {len(rows)}")


def _take(received: bytes, start: int) -> HttpAnswer | None:
    match = _HEAD.match(received, start)
    if match is None:
        return None
    headers = _headers(match[2])
    end = match.end()
    # HEAD is answered without a body; the next answer or the end stands in its place.
    has_body = end < len(received) and not received.startswith(b"HTTP/1.1 ", end)
    size = int(headers.get("content-length", "0")) if has_body else 0
    if end + size > len(received):
        return None
    return HttpAnswer(int(match[1]), headers, received[end : end + size], end + size)


def _headers(lines: bytes) -> dict[str, str]:
    pairs = (line.partition(": ") for line in lines.decode("latin-1").split("\r\n") if line)
    return {name.lower(): value for name, _, value in pairs}
