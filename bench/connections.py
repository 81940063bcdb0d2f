"""Client connections of the load generator: prepared bytes out, acknowledgements counted in what comes back.

They do as little as can be done, so that one process can load a server that has more than one core: requests are
encoded before the run, and of answers only what tells success from failure is looked at.
"""

import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Protocol

RECEIVE_BYTES = 2**16


class LoadError(Exception):
    """The server answered something else than success, or closed the connection."""


class Connection(Protocol):
    """One connection, over which requests are sent and acknowledged in turn."""

    socket: socket.socket

    def send(self, index: int) -> None:
        """Send the prepared request of that index (modulo their number)."""

    def receive(self) -> int:
        """Read what has come and return the number of requests that it acknowledges. Raises LoadError."""


class HttpConnection:
    """HTTP/1.1 keep-alive. Every answer must be `expected`, but for its headers."""

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], expected_body: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._expected = expected_body
        self._buffer = b""

    def send(self, index: int) -> None:
        """See Connection."""
        self.socket.sendall(self._requests[index % len(self._requests)])

    def receive(self) -> int:
        """See Connection."""
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise LoadError("the server closed the connection")
        self._buffer += received
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < len(self._expected):
            return 0
        if not head.startswith(b"HTTP/1.1 202 ") or body != self._expected:
            raise LoadError(f"unexpected answer: {self._buffer[:300]!r}")
        self._buffer = b""
        return 1


# HTTP/2 frame types and flags (RFC 9113, 6).
_DATA, HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_MAX_FRAME = 16_384
_INITIAL_WINDOW = 65_535
_LARGE_WINDOW = 2**31 - 1
_INITIAL_WINDOW_SETTING = 4


class GrpcConnection:
    """HTTP/2 with gRPC messages: a stream for each call, or one stream for all batches.

    Acknowledged is what came back as a message that equals `expected`, or for a stream, ends with it.
    """

    def __init__(
        self, address: tuple[str, int], path: str, key: str, messages: Sequence[bytes], expected: bytes, *, stream: bool
    ) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._is_stream = stream
        self._headers = _encode_headers(address, path, key)
        self._messages = [grpc_frame(message) for message in messages]
        self._expected = expected
        self._stream_id = -1
        self._is_answered = False
        self._window = _INITIAL_WINDOW
        self._stream_window = 0
        self._initial_stream_window = _INITIAL_WINDOW
        self._unsent: deque[tuple[int, bytes]] = deque()
        self._buffer = b""
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SETTING, _LARGE_WINDOW))
            + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _LARGE_WINDOW - _INITIAL_WINDOW))
        )

    def send(self, index: int) -> None:
        """See Connection."""
        if self._stream_id < 0 or not self._is_stream:
            self._stream_id += 2
            self._stream_window = self._initial_stream_window
            self._is_answered = False
            self._unsent.append((self._stream_id, b""))
        self._unsent.append((self._stream_id, self._messages[index % len(self._messages)]))
        self._flush()

    def receive(self) -> int:
        """See Connection."""
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise LoadError("the server closed the connection")
        self._buffer += received
        acknowledged = 0
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                break
            kind, flags = self._buffer[3], self._buffer[4]
            stream_id = int.from_bytes(self._buffer[5:9], "big")
            payload = self._buffer[9 : 9 + length]
            self._buffer = self._buffer[9 + length :]
            acknowledged += self._handle(kind, flags, stream_id, payload)
        return acknowledged

    def _handle(self, kind: int, flags: int, stream_id: int, payload: bytes) -> int:
        if kind == _DATA:
            self._is_answered = not self._is_stream
            return self._count_messages(payload)
        if kind == _WINDOW_UPDATE:
            increment = int.from_bytes(payload, "big")
            if stream_id == 0:
                self._window += increment
            elif stream_id == self._stream_id:
                self._stream_window += increment
            self._flush()
        elif kind == _SETTINGS and not flags & _ACK:
            self._apply_settings(payload)
            self.socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self.socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind in (_GOAWAY, _RST_STREAM) or (kind == HEADERS and flags & END_STREAM and not self._is_answered):
            raise LoadError(f"the server ended the call: {payload[:200]!r}")
        return 0

    def _count_messages(self, data: bytes) -> int:
        count = 0
        while data:
            length = int.from_bytes(data[1:5], "big")
            message, data = data[5 : 5 + length], data[5 + length :]
            if not message.endswith(self._expected):
                raise LoadError(f"unexpected answer: {message[:300]!r}")
            count += 1
        return count

    def _apply_settings(self, payload: bytes) -> None:
        for offset in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, offset)
            if name == _INITIAL_WINDOW_SETTING:
                self._stream_window += value - self._initial_stream_window
                self._initial_stream_window = value
                self._flush()

    def _flush(self) -> None:
        """Send as much as the peer's flow-control windows allow (RFC 9113, 5.2)."""
        frames: list[bytes] = []
        while self._unsent:
            stream_id, data = self._unsent[0]
            if not data:
                frames.append(_frame(HEADERS, _END_HEADERS, stream_id, self._headers))
                self._unsent.popleft()
                continue
            size = min(len(data), self._window, self._stream_window, _MAX_FRAME)
            if size <= 0:
                break
            is_last = size == len(data)
            flags = END_STREAM if is_last and not self._is_stream else 0
            frames.append(_frame(_DATA, flags, stream_id, data[:size]))
            self._window -= size
            self._stream_window -= size
            if is_last:
                self._unsent.popleft()
            else:
                self._unsent[0] = (stream_id, data[size:])
        if frames:
            self.socket.sendall(b"".join(frames))


def grpc_frame(message: bytes) -> bytes:
    """Return an uncompressed message as gRPC sends it."""
    return b"\0" + struct.pack(">I", len(message)) + message


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream_id) + payload


def _encode_headers(address: tuple[str, int], path: str, key: str) -> bytes:
    """Encode a request's headers as HPACK literals that are not indexed (RFC 7541, 6.2.2)."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": f"{address[0]}:{address[1]}",
        "te": "trailers",
        "content-type": "application/grpc",
        "x-seestack-key": key,
    }
    return b"".join(b"\0" + _hpack_string(name) + _hpack_string(value) for name, value in headers.items())


def _hpack_string(text: str) -> bytes:
    data = text.encode()
    if len(data) >= 127:
        raise ValueError("longer strings are not needed here")
    return bytes([len(data)]) + data
