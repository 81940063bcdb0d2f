"""One HTTP/1.1 connection in front of a WSGI application (PEP 3333), on an event loop.

The requests of a connection are answered one after the other; slow clients cost a little memory and no thread.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from http_bridge.http1.environ import Environ, connection_environ
from http_bridge.http1.greenlets import run_synchronous
from http_bridge.http1.load_shedding import LoadShedder
from http_bridge.http1.request_parser import Request, RequestParser
from http_bridge.http1.response_encoding import encode_chunk, encode_response, is_of_any_length
from server.errors import IngestError, ServiceUnavailableError

Application: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

MAX_PIPELINED = 8  # requests that may wait for their turn before reading pauses
REQUEST_TIMEOUT_S = 60.0  # from the first byte of a request to its last, and for a client to take its answers
IDLE_TIMEOUT_S = 75.0  # longer than the 60 s of common load balancers: this side must not be the first to close

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_logger = logging.getLogger(__name__)


class HttpConnection(asyncio.Protocol):
    """Calls the application for each request of a client, and writes the responses."""

    def __init__(
        self,
        application: Application,
        refuse: Callable[[IngestError], bytes],
        connections: "set[HttpConnection]",
        shedder: LoadShedder,
    ) -> None:
        """`refuse` makes the answer to what is not valid HTTP; `connections` is to hold this one while it is open."""
        self._loop = asyncio.get_running_loop()
        self._application = application
        self._refuse = refuse
        self._connections = connections
        self._shedder = shedder
        self._requests: deque[Request] = deque()  # waiting for their turn
        self._active: Request | None = None  # being answered
        self._is_stopping = False
        self._is_paused = False
        self._unsent_bytes = 0  # while the client does not read
        self._waiting_since = self._loop.time()  # when the connection became idle, or its client stopped reading
        self._arrival: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        environ = connection_environ(transport)
        self._parser = RequestParser(environ, self._requests.append, self._want_body, self._shedder)
        self._connections.add(self)
        if not self._shedder.admit(self):
            self._parser.end(ServiceUnavailableError())
        self._task = self._loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._parser.feed(data)
        self._shedder.note_progress(self)
        self._pause_or_resume()
        if self._active is None:
            self._wake()

    def eof_received(self) -> bool:
        """Finish the requests in progress when the client has closed only its sending side."""
        self._end()
        # A TLS connection cannot be half closed.
        is_half = self._transport.get_extra_info("ssl_object") is None
        return is_half and (self._active is not None or bool(self._requests))

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._connections.discard(self)
        self._shedder.forget(self)
        while self._requests:
            self._requests.popleft().body.close()
        self._end()
        self.resume_writing()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._waiting_since = self._loop.time()
        self._writable = self._loop.create_future()
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._shedder.held_bytes += self._unsent_bytes
        self._shedder.note_progress(self)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        self._shedder.held_bytes -= self._unsent_bytes
        self._unsent_bytes = 0

    # Called by the server.

    def check(self, now: float) -> None:
        """Cut the connection off when its client takes too long; `now` is the event loop's time in seconds."""
        waited_s = now - self._waiting_since
        if self._transport.is_closing() or self._writable is not None:
            is_overdue = waited_s > REQUEST_TIMEOUT_S
        elif not self._parser.is_between_requests:
            is_overdue = now - self._parser.began_at > REQUEST_TIMEOUT_S
        else:
            is_overdue = self._active is None and not self._requests and waited_s > IDLE_TIMEOUT_S
        if is_overdue:
            self._transport.abort()

    @property
    def is_waiting(self) -> bool:
        """See Sheddable."""
        return not self._requests and (self._active is None or self._active is self._parser.incoming)

    @property
    def held_bytes(self) -> int:
        """See Sheddable."""
        return self._unsent_bytes + sum(request.body.size for request in self._unanswered())

    def shed(self) -> None:
        """See Sheddable."""
        if self._writable is not None:
            self._transport.abort()
            return
        refusal = ServiceUnavailableError()
        for request in self._unanswered():
            request.body.end(refusal)
        self._parser.end(None if self._parser.is_between_requests else refusal)
        self._wake()

    def stop(self) -> None:
        """Finish the requests that have begun to arrive, then close."""
        self._is_stopping = True
        if not self._parser.is_in_head:
            self._wake()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # Handling requests.

    async def _serve(self) -> None:
        """Answer one request after the other until there are no more."""
        try:
            while (request := await self._next()) is not None:
                self._active = request
                is_last = await self._answer(request)
                self._active = None
                self._waiting_since = self._loop.time()
                if self._writable is not None:
                    await self._writable
                if is_last:
                    return
            if self._parser.refusal is not None:
                self._write(self._refuse(self._parser.refusal))
        except Exception:
            _logger.exception("a connection failed")
        finally:
            self._waiting_since = self._loop.time()
            self._transport.close()

    async def _next(self) -> Request | None:
        while not self._requests:
            if self._parser.has_ended or (self._is_stopping and not self._parser.is_in_head):
                return None
            self._arrival = self._loop.create_future()
            await self._arrival
        request = self._requests.popleft()
        self._pause_or_resume()
        return request

    async def _answer(self, request: Request) -> bool:
        """Answer a request; return whether the connection ends with it."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            started[:] = status, headers

        chunks = await run_synchronous(self._application, request.environ, start_response)
        parts = iter(chunks)
        try:
            # An application may begin its answer as late as with the first part (PEP 3333).
            first = await run_synchronous(next, parts, b"")
            status, headers = started
            method, protocol = request.environ["REQUEST_METHOD"], request.environ["SERVER_PROTOCOL"]
            is_stream = method != "HEAD" and not isinstance(chunks, Sequence) and is_of_any_length(status, headers)
            # The rest of an unread body would be taken for the next request.
            is_last = request.is_last or self._is_stopping or not request.body.is_complete
            is_last = is_last or (is_stream and protocol == "HTTP/1.0")
            encode = partial(encode_response, status, headers, is_last=is_last, method=method, protocol=protocol)
            request.body.close()
            if is_stream:
                end = await self._stream(encode(None), first, parts, is_chunked=protocol != "HTTP/1.0")
            else:
                end = encode(b"".join((first, *parts)))
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        self._write(end)
        return is_last

    async def _stream(self, head: bytes, first: bytes, parts: Iterator[bytes], *, is_chunked: bool) -> bytes:
        """Write head and body as fast as the client takes them; return what ends the body."""
        encode = encode_chunk if is_chunked else bytes
        self._write(head)
        part: bytes | None = first
        while part is not None and not self._transport.is_closing():
            if part:  # an empty chunk would be the end
                self._write(encode(part))
            if self._writable is not None:
                await self._writable
            part = await run_synchronous(next, parts, None)
        return encode(b"") if is_chunked else b""

    def _unanswered(self) -> list[Request]:
        return [*self._requests] if self._active is None else [self._active, *self._requests]

    def _want_body(self) -> None:
        """Go on reading; the client may wait for 100 Continue (RFC 9110, 10.1.1)."""
        if self._active is not None and self._active.body.awaits_continue:
            self._active.body.awaits_continue = False
            self._write(_CONTINUE)
        self._pause_or_resume()

    def _end(self) -> None:
        self._parser.end()
        self._wake()

    def _pause_or_resume(self) -> None:
        incoming = self._parser.incoming
        is_full = len(self._requests) > MAX_PIPELINED or (incoming is not None and incoming.body.is_full)
        if is_full != self._is_paused and not self._transport.is_closing():
            self._is_paused = is_full
            (self._transport.pause_reading if is_full else self._transport.resume_reading)()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
