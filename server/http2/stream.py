"""One request and its answer on an HTTP/2 connection, as an application sees them."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from server.http2.errors import ErrorCode, StreamFault
from server.http2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    encode_frame,
    encode_head,
    encode_window_update,
)
from server.http2.held_bytes import HeldBytes

SEND_TIMEOUT_S: Final = 60.0  # for a client that takes nothing of an answer

_END = END_HEADERS | END_STREAM


class Session(Protocol):
    """What a stream needs of its connection."""

    loop: asyncio.AbstractEventLoop
    held: HeldBytes
    peer_window: int
    peer_max_frame: int
    send_window: int
    is_writable: bool
    blocked: "set[Stream]"

    def send(self, data: bytes) -> None:
        """Send frames."""

    def with_table_size(self, block: bytes) -> bytes:
        """Return a header block as it is to be sent."""

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """End a stream."""

    def forget(self, stream: "Stream") -> None:
        """End a stream that is answered."""


class Stream:
    """A request whose head has arrived; its body may still be arriving.

    The client may send DEFAULT_WINDOW bytes that nobody has asked for, and more as far as `read` wants more.
    """

    __slots__ = (
        "_arrival",
        "_buffer",
        "_is_dropping",
        "_room",
        "_session",
        "_unreceived",
        "_wanted",
        "has_ended",
        "head",
        "id",
        "is_answered",
        "is_closed",
        "on_cancel",
        "receive_window",
        "send_window",
    )  # fmt: skip

    def __init__(self, session: Session, stream_id: int, head: Any, content_length: int | None) -> None:
        """`head` is what the application made of the request's head."""
        self.id = stream_id
        self.head = head
        self.has_ended = False  # whether the whole request has arrived
        self.is_answered = False  # whether the end of the answer was sent
        self.is_closed = False
        # Called when the client, or the loss of the connection, ends the stream before its answer has ended.
        self.on_cancel: Callable[[], object] | None = None
        self.receive_window = DEFAULT_WINDOW
        self.send_window = session.peer_window
        self._session = session
        self._unreceived = content_length
        self._buffer = bytearray()
        self._is_dropping = False
        self._wanted = 0
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # Called by the application; what is sent after the stream has closed goes nowhere.

    @property
    def received(self) -> bytearray:
        """What has arrived of the body and was not read."""
        return self._buffer

    async def read(self, size: int) -> bytes:
        """Return `size` bytes of the body, fewer only at its end."""
        if len(self._buffer) < size and not self.has_ended:
            self._wanted = size
            while len(self._buffer) < size and not self.has_ended:
                self._open_window(max(size, DEFAULT_WINDOW) - len(self._buffer))
                self._arrival = self._session.loop.create_future()
                await self._arrival
            self._wanted = 0
        return self._take(size)

    def take(self, size: int) -> bytes | None:
        """Return `size` bytes of the body when they have arrived, else None."""
        return self._take(size) if len(self._buffer) >= size else None

    def send_headers(self, block: bytes) -> None:
        """Begin the answer."""
        if not self.is_closed:
            self._session.send(self._encode_headers(0, block))

    async def send(self, data: bytes) -> None:
        """Send a part of the body, as fast as the client takes it."""
        session = self._session
        sent = 0
        while sent < len(data) and not self.is_closed:
            size = min(len(data) - sent, self.send_window, session.send_window, session.peer_max_frame)
            if size > 0 and session.is_writable:
                self.send_window -= size
                session.send_window -= size
                session.send(encode_frame(DATA, 0, self.id, data[sent : sent + size]))
                sent += size
            else:
                await self._wait_for_room()

    def end(self, block: bytes) -> None:
        """End the answer with trailers, or the headers of an answer without a body."""
        if not self.is_closed:
            self._session.send(self._encode_headers(END_STREAM, block))
            self._finish()

    def answer(self, block: bytes, data: bytes, trailers: bytes) -> bool:
        """Send a whole answer in one go; return False, and send nothing, when the client has no room for it."""
        session, size = self._session, len(data)
        if self.is_closed:
            return True
        if size > self.send_window or size > session.send_window or size > session.peer_max_frame:
            return False
        session.send_window -= size
        block = session.with_table_size(block)  # like the trailers, it is far smaller than a frame may be
        stream_id = self.id
        session.send(
            b"".join(
                (
                    encode_head(HEADERS, END_HEADERS, stream_id, len(block)),
                    block,
                    encode_head(DATA, 0, stream_id, size),
                    data,
                    encode_head(HEADERS, _END, stream_id, len(trailers)),
                    trailers,
                )
            )
        )
        self._finish()
        return True

    def reset(self, code: ErrorCode) -> None:
        """End the stream at once; the application is told by `on_cancel`."""
        if not self.is_closed:
            self._session.reset(self.id, code)

    # Called by the session.

    def feed(self, data: bytes, size: int, *, is_last: bool) -> None:
        """Take in a frame of `size` bytes with a part of the body. Raises StreamFault."""
        if self.has_ended:
            raise StreamFault(self.id, ErrorCode.STREAM_CLOSED)
        self.receive_window -= size
        if self.receive_window < 0:
            raise StreamFault(self.id, ErrorCode.FLOW_CONTROL_ERROR)
        if self._unreceived is not None:
            self._unreceived -= len(data)
            if self._unreceived < 0 or (is_last and self._unreceived):
                raise StreamFault(self.id, ErrorCode.PROTOCOL_ERROR)
        if data and not self.is_answered:
            self._buffer += data
            self._session.held.add(self, len(data))
        self.has_ended = is_last
        if self._arrival is not None and (is_last or self._is_due()):
            _wake(self._arrival)

    def grow_send_window(self, increment: int) -> None:
        """Note that the client has room for more, or for less. Raises StreamFault."""
        self.send_window += increment
        if self.send_window > MAX_WINDOW:
            raise StreamFault(self.id, ErrorCode.FLOW_CONTROL_ERROR)
        self.wake_sender()

    def wake_sender(self) -> None:
        """Let `send` look again whether there is room."""
        if self._room is not None:
            _wake(self._room)

    def close(self) -> None:
        """Forget what was received; cancel what the application does unless it has answered."""
        self.is_closed = True
        if self._buffer:
            size = len(self._buffer)
            self._buffer = bytearray()
            self._session.held.remove(self, size, is_last=True)
        if self.on_cancel is not None and not self.is_answered:
            self.on_cancel()
        self.on_cancel = None

    def shed(self) -> None:
        """Give up the memory that the request takes."""
        self._session.reset(self.id, ErrorCode.ENHANCE_YOUR_CALM)

    def _encode_headers(self, flags: int, block: bytes) -> bytes:
        block, most = self._session.with_table_size(block), self._session.peer_max_frame
        if len(block) <= most:
            return encode_frame(HEADERS, flags | END_HEADERS, self.id, block)
        parts = [block[at : at + most] for at in range(0, len(block), most)]
        frames = [encode_frame(HEADERS, flags, self.id, parts[0])]
        frames += [encode_frame(CONTINUATION, 0, self.id, part) for part in parts[1:-1]]
        return b"".join([*frames, encode_frame(CONTINUATION, END_HEADERS, self.id, parts[-1])])

    def _take(self, size: int) -> bytes:
        buffer = self._buffer
        if len(buffer) <= size:
            data = bytes(buffer)
            self._buffer = bytearray()
        else:
            data = bytes(buffer[:size])
            del buffer[:size]
        self._session.held.remove(self, len(data), is_last=not self._buffer)
        return data

    def _is_due(self) -> bool:
        """Tell whether `read` has what it waits for, or its window is too small for that, as padding takes some."""
        missing = self._wanted - len(self._buffer)
        return missing <= 0 or self.receive_window < missing

    def _open_window(self, size: int) -> None:
        """Let the client send `size` bytes from now on, and more only as far as it might already."""
        increment = size - self.receive_window
        if increment >= DEFAULT_WINDOW // 2 or self.receive_window < self._wanted - len(self._buffer):
            self.receive_window = size
            self._session.send(encode_window_update(self.id, increment))

    async def _wait_for_room(self) -> None:
        session = self._session
        session.blocked.add(self)
        self._room = session.loop.create_future()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._room
        except TimeoutError:
            self.reset(ErrorCode.CANCEL)
            raise
        finally:
            self._room = None
            session.blocked.discard(self)

    def _finish(self) -> None:
        self.is_answered = True
        self._session.forget(self)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
