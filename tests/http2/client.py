"""An HTTP/2 client that sends exactly what a test says, frame by frame."""

import struct
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

import hpack

from tests.fuzz.http2_connections import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Headers,
    frame,
    grpc_message,
    header_block,
)
from tests.http.raw_client import RawClient

ACK = 0x1
NO_SETTINGS = frame(SETTINGS, 0, 0, b"")
OPENING = PREFACE + NO_SETTINGS


@dataclass
class Answer:
    """What has come of a stream."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    reset: int | None = None  # the code of a RST_STREAM

    @property
    def status(self) -> str | None:
        """The gRPC status."""
        return self.headers.get("grpc-status")

    @property
    def messages(self) -> list[bytes]:
        """The messages, without their prefixes."""
        found, rest = [], self.data
        while rest:
            size = int.from_bytes(rest[1:5], "big")
            found.append(rest[5 : 5 + size])
            rest = rest[5 + size :]
        return found


class Http2Client:
    """One connection, which says hello unless it is told not to."""

    def __init__(self, port: int, opening: bytes = OPENING, *, receive_buffer: int | None = None) -> None:
        self.raw = RawClient(port, receive_buffer=receive_buffer)
        self._decoder = hpack.Decoder()
        self._received = b""
        self.send(opening)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.socket.close()

    def send(self, *frames: bytes) -> None:
        """Send frames, or what is none."""
        self.raw.offer(b"".join(frames))

    def receive(self) -> tuple[int, int, int, bytes]:
        """Return kind, flags, stream and payload of the next frame. Raises EOFError when the server has closed."""
        head = self._take(9)
        payload = self._take(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def expect(self, kind: int, stream: int | None = None) -> bytes:
        """Return the payload of the next frame of that kind; others are skipped."""
        while True:
            found, _, of, payload = self.receive()
            assert found != GOAWAY or kind == GOAWAY, payload
            if found == kind and stream in (None, of):
                return payload

    def expect_code(self, kind: int) -> int:
        """Return the code of the next RST_STREAM or GOAWAY."""
        payload = self.expect(kind)
        code: int = struct.unpack_from(">I", payload, 0 if kind == RST_STREAM else 4)[0]
        return code

    def answers(self, *streams: int) -> list[Answer]:
        """Return the answers to streams, once all have ended."""
        found: defaultdict[int, Answer] = defaultdict(Answer)
        waiting = set(streams)
        while waiting:
            kind, flags, stream, payload = self.receive()
            assert kind != GOAWAY or payload[4:8] == b"\0\0\0\0", payload
            if kind == HEADERS:
                found[stream].headers |= {str(name): str(value) for name, value in self._decoder.decode(payload)}
            elif kind == DATA:
                found[stream].data += payload
            elif kind == RST_STREAM and stream in waiting:
                found[stream].reset = int.from_bytes(payload, "big")
                waiting.discard(stream)
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                waiting.discard(stream)
        return [found[stream] for stream in streams]

    def answer(self, stream: int) -> Answer:
        """Return the answer to a stream, once it has ended."""
        return self.answers(stream)[0]

    def assert_serves(self, stream: int) -> None:
        """Check that a call is answered."""
        self.send(call(stream, "echo", b"still there"))
        assert self.answer(stream).messages == [b"still there"]

    def ping(self) -> None:
        """Wait until all that was sent has been read."""
        self.send(frame(PING, 0, 0, b"testping"))
        while self.expect(PING) != b"testping":
            pass

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            try:
                data = self.raw.socket.recv(2**16)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError
            self._received += data
        taken, self._received = self._received[:size], self._received[size:]
        return taken


def call_headers(method: str, *more: tuple[str, str]) -> Headers:
    """Return the headers of a call."""
    headers = [
        (":method", "POST"), (":scheme", "http"), (":path", f"/test.Test/{method}"), (":authority", "localhost"),
        ("te", "trailers"), ("content-type", "application/grpc"), *more,
    ]  # fmt: skip
    return [(name.encode(), value.encode()) for name, value in headers]


def head(stream: int, method: str, *more: tuple[str, str], flags: int = 0) -> bytes:
    """Return the HEADERS of a call."""
    return frame(HEADERS, END_HEADERS | flags, stream, header_block(call_headers(method, *more)))


def body(stream: int, *messages: bytes, flags: int = END_STREAM) -> bytes:
    """Return the DATA of a call."""
    return frame(DATA, flags, stream, b"".join(map(grpc_message, messages)))


def call(stream: int, method: str, *messages: bytes) -> bytes:
    """Return a whole call."""
    return head(stream, method) + body(stream, *messages)
