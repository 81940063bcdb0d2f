"""HTTP as bytes: a client that sends exactly what a test says, when it says so."""

import select
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Self

from tests.patience import PATIENCE_S
from tests.running_server import Answer

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER


class RawClient:
    """One connection to a port of 127.0.0.1."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        """`receive_buffer` is in bytes; it makes a client that stops reading hold the server up early."""
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def offer(self, data: bytes) -> None:
        """Send as much of `data` as the server takes before it closes the connection."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send(data)

    def send_parts(self, parts: Iterable[bytes]) -> None:
        """Send each part as a packet of its own."""
        for part in parts:
            self.send(part)

    def end(self) -> None:
        """Say that nothing more is sent, and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Go away without a goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.socket.close()

    def receive(self, *, has_body: bool = True) -> Answer:
        """Return the next answer; `has_body` is false for answers to HEAD."""
        head = self._take_until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        assert status_line.startswith("HTTP/1.1 "), status_line
        names = [line.partition(": ")[0].lower() for line in lines]
        assert len(set(names)) == len(names), head
        headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(self.receive_chunks())
        else:
            body = self._take(int(headers.get("content-length", 0))) if has_body else b""
        return Answer(int(status_line[9:12]), headers, body)

    def receive_chunks(self) -> Iterator[bytes]:
        """Yield the parts of a body that is sent in chunks."""
        while size := int(self._take_until(b"\r\n"), 16):
            yield self._take(size)
            assert self._take(2) == b"\r\n"
        assert self._take(2) == b"\r\n"

    def receive_rest(self) -> bytes:
        """Return what comes until the server closes the connection."""
        rest = self._received
        while data := self.socket.recv(2**16):
            rest += data
        return rest

    def receive_interim(self) -> None:
        """Take in the answer that asks for the body."""
        assert self._take_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    def is_silent(self, seconds: float) -> bool:
        """Tell whether the server neither sends nor closes for that long."""
        return not self._received and not self._poll(select.POLLIN, seconds)

    def can_send(self, seconds: float) -> bool:
        """Tell whether there is room to send more, now or within that time."""
        return self._poll(select.POLLOUT, seconds)

    def assert_closed(self) -> None:
        """Check that the server has closed the connection, or closes it now, and sends nothing more."""
        try:
            rest = self._received + self.socket.recv(2**16)
        except ConnectionResetError:  # it closed before it had read all that was sent
            rest = self._received
        assert rest == b""

    def _poll(self, event: int, seconds: float) -> bool:
        poll = select.poll()  # unlike select(), it knows descriptors of any number
        poll.register(self.socket, event)
        return bool(poll.poll(1000 * seconds))

    def _take_until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._fill()
        return self._take(self._received.index(end) + len(end))

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._fill()
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _fill(self) -> None:
        data = self.socket.recv(2**16)
        assert data, f"the server closed the connection after {self._received!r}"
        self._received += data
