"""One HTTP/1.1 connection (RFC 9112) in front of a WSGI application (PEP 3333), on an event loop.

llhttp parses, strictly. The requests of a connection are answered one after the other; slow clients cost a little
memory and no thread.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import httptools

from http_bridge.environ import Environ, connection_environ, request_environ
from http_bridge.request_body import RequestBody
from http_bridge.waiting import run_synchronous
from http_bridge.wire import encode_response
from server.errors import IngestError, MalformedRequestError, MethodNotAllowedError

Application: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

MAX_HEAD_BYTES = 2**16
MAX_PIPELINED = 8  # requests that may wait for their turn before reading pauses
REQUEST_TIMEOUT_S = 60.0  # from the first byte of a request to its last, and for a client to take its answers
IDLE_TIMEOUT_S = 75.0  # longer than the 60 s of common load balancers: who closes first must not be this side

NO_HTTP = "Request is not valid HTTP/1.1"
# Any token is a method (RFC 9110, 9.1), but the parser stops at those it does not know.
_ODD_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ /\S* HTTP/1\.[01]\r\n")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Headers that ask for another protocol (RFC 9110, 7.8; RFC 7540, 3.2). None is spoken here, so they are ignored.
_UPGRADE_HEADERS = frozenset({b"connection", b"upgrade", b"http2-settings"})

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Request:
    environ: Environ
    body: RequestBody
    is_last: bool


class HttpConnection(asyncio.Protocol):
    """Parses requests, has the application answer them, and writes the answers."""

    def __init__(
        self,
        application: Application,
        refuse: Callable[[IngestError], bytes],
        connections: "set[HttpConnection]",
    ) -> None:
        """`refuse` makes the answer to what is no HTTP; `connections` is to hold this one while it is open."""
        self._loop = asyncio.get_running_loop()
        self._application = application
        self._refuse = refuse
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[_Request] = deque()  # waiting for their turn
        self._active: _Request | None = None  # being answered
        self._incoming: _Request | None = None  # whose body is still coming
        self._is_in_head = False
        self._is_upgrade = False
        self._messages = 0
        self._has_moved = False
        self._stalled_bytes = 0
        self._head_bytes = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._has_ended = False  # no more is read
        self._refusal: IngestError | None = None  # what is said to what was no HTTP
        self._is_stopping = False
        self._is_paused = False
        self._phase_began = self._loop.time()  # when the request coming in began, or the connection fell idle
        self._arrival: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._shared_environ = connection_environ(transport)
        self._connections.add(self)
        self._task = self._loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._has_moved = False
        self._feed(data)
        if self._has_moved:
            self._stalled_bytes = 0
        else:
            self._stalled_bytes += len(data)
            if self._stalled_bytes > MAX_HEAD_BYTES:
                self._end(MalformedRequestError(f"Request headers exceed {MAX_HEAD_BYTES} bytes"))
        self._pause_or_resume()

    def eof_received(self) -> bool:
        """Answer what is under way when the client has ended its side only."""
        self._end()
        return self._active is not None or bool(self._requests)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._connections.discard(self)
        self._requests.clear()
        self._end()
        self.resume_writing()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._phase_began = self._loop.time()
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # Called by the server.

    def drop_if_overdue(self, now: float) -> None:
        """Cut the connection off when its client takes too long; `now` is the event loop's time in seconds."""
        if self._transport.is_closing() and now - self._phase_began > REQUEST_TIMEOUT_S:
            self._transport.abort()
            return
        is_receiving = self._is_in_head or self._incoming is not None or self._writable is not None
        if is_receiving:
            if now - self._phase_began > REQUEST_TIMEOUT_S:
                self._transport.abort()
        elif self._active is None and not self._requests and now - self._phase_began > IDLE_TIMEOUT_S:
            self._transport.close()

    def stop(self) -> None:
        """Finish what has begun to come in, then close."""
        self._is_stopping = True
        if not self._is_in_head:
            self._wake()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # Called by the parser, while it is fed.

    def on_message_begin(self) -> None:
        """A request begins, or an empty line before one."""
        if self._has_ended:
            return
        self._messages += 1
        self._has_moved = True
        self._is_in_head = True
        self._is_upgrade = False
        self._head_bytes = 0
        self._url = b""
        self._headers = []
        self._phase_began = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; one that comes after the body is of no use here."""
        if self._is_in_head:
            self._headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        """The request can be begun; its body may still be coming."""
        if self._has_ended:
            return
        self._is_upgrade = self._parser.should_upgrade()
        if self._is_upgrade:
            return  # see _ignore_upgrade
        self._is_in_head = False
        version = self._parser.get_http_version()
        headers = self._headers
        if version not in ("1.0", "1.1"):
            self._end(MalformedRequestError(NO_HTTP))
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end(MalformedRequestError(f"Request headers exceed {MAX_HEAD_BYTES} bytes"))
            return
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version != "1.0"):
            self._end(MalformedRequestError("Request must have one Host header"))  # RFC 9112, 3.2
            return
        try:
            environ = request_environ(self._shared_environ, self._parser.get_method(), self._url, version, headers)
        except httptools.HttpParserError:
            self._end(MalformedRequestError("Request target is not valid"))
            return
        body = RequestBody(self._want_body)
        environ["wsgi.input"] = body
        body.awaits_continue = version != "1.0" and environ.get("HTTP_EXPECT", "").strip().lower() == "100-continue"
        is_last = not self._parser.should_keep_alive() or (version == "1.0" and "HTTP_TRANSFER_ENCODING" in environ)
        request = _Request(environ, body, is_last)
        self._incoming = request
        self._requests.append(request)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._has_moved = True
        if self._incoming is not None:
            self._incoming.body.awaits_continue = False
            self._incoming.body.feed(data)

    def on_message_complete(self) -> None:
        """The request has come in whole."""
        if self._incoming is not None:
            self._incoming.body.end()
            self._incoming = None

    # The way of a request.

    def _feed(self, data: bytes) -> None:
        if self._has_ended:
            return
        self._messages = 0
        try:
            while True:
                try:
                    self._parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    if self._has_ended:
                        break
                    data = self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            _logger.exception("a request could not be taken")
            self._end(IngestError())
        except httptools.HttpParserInvalidMethodError:
            is_odd = self._messages == 1 and _ODD_METHOD.match(data)
            self._end(MethodNotAllowedError("POST, OPTIONS") if is_odd else MalformedRequestError(NO_HTTP))
        except httptools.HttpParserError:
            self._end(MalformedRequestError(NO_HTTP))
        if self._requests and self._active is None:
            self._wake()

    def _ignore_upgrade(self, rest: bytes) -> bytes:
        """Parse a request again as if it asked for no other protocol; the parser takes it to have no body otherwise."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._end(MalformedRequestError("This server is no proxy"))
            return b""
        kept = [(name, value) for name, value in self._headers if name not in _UPGRADE_HEADERS]
        if not self._parser.should_keep_alive():
            kept.append((b"connection", b"close"))
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self._url, version), *[b"%b: %b" % header for header in kept], b"", b""]
        self._parser = httptools.HttpRequestParser(self)
        return b"\r\n".join(lines) + rest

    def _end(self, refusal: IngestError | None = None) -> None:
        """Take no more from the client, and refuse what it began, with `refusal` when it can still be told."""
        if not self._has_ended:
            self._has_ended = True
            self._is_in_head = False
            self._refusal = refusal
            if self._incoming is not None:
                self._incoming.is_last = True
                self._incoming.body.end(refusal or MalformedRequestError("Request body is cut off"))
                self._incoming = self._refusal = None
        self._wake()

    async def _serve(self) -> None:
        """Answer one request after the other until there are no more."""
        try:
            while (request := await self._next()) is not None:
                self._active = request
                is_last = await self._answer(request)
                self._active = None
                self._phase_began = self._loop.time()
                if self._writable is not None:
                    await self._writable
                if is_last:
                    return
            if self._refusal is not None:
                self._write(self._refuse(self._refusal))
        except Exception:
            _logger.exception("a connection failed")
        finally:
            self._transport.close()

    async def _next(self) -> _Request | None:
        while not self._requests:
            if self._has_ended or (self._is_stopping and not self._is_in_head):
                return None
            self._arrival = self._loop.create_future()
            await self._arrival
        request = self._requests.popleft()
        self._pause_or_resume()
        return request

    async def _answer(self, request: _Request) -> bool:
        """Have a request answered; return whether the connection ends with it."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            started[:] = status, headers

        chunks = await run_synchronous(self._application, request.environ, start_response)
        body = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        status, headers = started
        # What is left of a body cannot be told from the next request.
        is_last = request.is_last or self._is_stopping or not request.body.is_complete
        method, protocol = request.environ["REQUEST_METHOD"], request.environ["SERVER_PROTOCOL"]
        self._write(encode_response(status, headers, body, is_last=is_last, method=method, protocol=protocol))
        return is_last

    def _want_body(self) -> None:
        """Go on reading; the client may wait for being asked to send (RFC 9110, 10.1.1)."""
        if self._active is not None and self._active.body.awaits_continue:
            self._active.body.awaits_continue = False
            self._write(_CONTINUE)
        self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        is_full = len(self._requests) > MAX_PIPELINED or (self._incoming is not None and self._incoming.body.is_full)
        if is_full != self._is_paused and not self._transport.is_closing():
            self._is_paused = is_full
            (self._transport.pause_reading if is_full else self._transport.resume_reading)()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
