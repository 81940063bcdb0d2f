"""Clients that take no answer for an answer: they send on at once, whether their batches are stored or refused."""

import re

from bench.connections import END_STREAM, HEADERS, RECEIVE_BYTES, GrpcConnection, HttpConnection, LoadError

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class HttpFlood(HttpConnection):
    """As its base, but any answer will do."""

    def receive(self) -> int:
        """See Connection."""
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise LoadError("the server closed the connection")
        self._buffer += received
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head + b"\r\n")
        if not separator or length is None or len(body) < int(length[1]):
            return 0
        self._buffer = b""
        return 1


class GrpcFlood(GrpcConnection):
    """As its base, for unary calls, but any status will do."""

    def _handle(self, kind: int, flags: int, stream_id: int, payload: bytes) -> int:
        if kind == HEADERS and flags & END_STREAM:
            return 1
        return super()._handle(kind, flags, stream_id, payload)

    def _count_messages(self, data: bytes) -> int:
        return 0  # the end of the call counts
