"""From the bytes of a connection to requests: HTTP/1.1 (RFC 9112), parsed strictly by llhttp."""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

import httptools

from http_bridge.http1.environ import Environ, request_environ
from http_bridge.http1.load_shedding import LoadShedder
from http_bridge.http1.request_body import RequestBody
from server.errors import BodyCutOffError, IngestError, MalformedRequestError, MethodNotAllowedError

MAX_HEAD_BYTES = 2**16
NO_HTTP = "Request is not valid HTTP/1.1"
HEAD_TOO_LONG = f"Request headers exceed {MAX_HEAD_BYTES} bytes"

_LINE_END_BYTES = 4  # ": " and CRLF
# Any token is a method (RFC 9110, 9.1), but llhttp stops at those it does not know.
_ODD_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ /\S* HTTP/1\.[01]\r\n")
# Headers that ask for another protocol (RFC 9110, 7.8; RFC 7540, 3.2). None is supported, so they are ignored.
_UPGRADE_HEADERS = frozenset({b"connection", b"upgrade", b"http2-settings"})

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Request:
    """A request whose head has arrived; its body may still be arriving. `is_last`: the connection closes after it."""

    environ: Environ
    body: RequestBody
    is_last: bool


class RequestParser:
    """Parses the bytes of a connection into requests, until it ends or sends something that is not a request."""

    def __init__(
        self,
        shared_environ: Environ,
        on_request: Callable[[Request], None],
        on_read: Callable[[], None],
        shedder: LoadShedder,
    ) -> None:
        """`on_request` gets each request once its head is there; `on_read` is called when more of a body is wanted."""
        self._shared_environ = shared_environ
        self._on_request = on_request
        self._on_read = on_read
        self._shedder = shedder
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self.is_in_head = False  # whether the head of a request is coming in
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._messages = 0  # that began in the present input
        self._has_moved = False  # whether the present input completed anything, so that llhttp buffers none of it
        self._kept_bytes = 0
        # The request whose body is still coming.
        self.incoming: Request | None = None
        # When the latest request began to come, in the event loop's time.
        self.began_at = 0.0
        # Nothing more is parsed; bytes that were not a request are answered with `refusal`, if there is one.
        self.has_ended = False
        self.refusal: IngestError | None = None

    @property
    def is_between_requests(self) -> bool:
        """Tell whether no request is coming in."""
        return not self.is_in_head and self.incoming is None

    def feed(self, data: bytes) -> None:
        """Parse bytes that have arrived."""
        if self.has_ended:
            return
        self._messages = 0
        self._has_moved = False
        try:
            self._parse(data)
        except httptools.HttpParserCallbackError:
            _logger.exception("a request could not be parsed")
            self.end(IngestError())
        except httptools.HttpParserInvalidMethodError:
            is_odd = self._messages == 1 and _ODD_METHOD.match(data)
            self.end(MethodNotAllowedError("POST, OPTIONS") if is_odd else MalformedRequestError(NO_HTTP))
        except httptools.HttpParserError:
            self.end(MalformedRequestError(NO_HTTP))
        # llhttp itself has no limit: it buffers a header, or a trailer, for as long as it comes.
        self._kept_bytes = 0 if self._has_moved else self._kept_bytes + len(data)
        if self._kept_bytes > MAX_HEAD_BYTES:
            self.end(MalformedRequestError(HEAD_TOO_LONG))

    def end(self, refusal: IngestError | None = None) -> None:
        """Parse no more, and refuse the request that has begun, with `refusal` if it can still be answered."""
        if self.has_ended:
            return
        self.has_ended = True
        self.is_in_head = False
        if self.incoming is not None:
            self.incoming.is_last = True
            self.incoming.body.end(refusal or BodyCutOffError())
            self.incoming = None
        else:
            self.refusal = refusal

    # Called by llhttp, while it is fed.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self.has_ended:
            return
        self._messages += 1
        self._has_moved = True
        self.is_in_head = True
        self._head_bytes = 0
        self._url = b""
        self._headers = []
        self.began_at = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are ignored."""
        if self.is_in_head:
            self._headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value) + _LINE_END_BYTES

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self.has_ended or self._parser.should_upgrade():
            return  # see _without_upgrade
        self.is_in_head = False
        try:
            request = self._make_request(self._parser.get_http_version())
        except httptools.HttpParserError:
            self.end(MalformedRequestError("Request target is not valid"))
        except MalformedRequestError as error:
            self.end(error)
        else:
            self.incoming = request
            self._on_request(request)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._has_moved = True
        if self.incoming is not None:
            self.incoming.body.awaits_continue = False
            self.incoming.body.feed(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self.incoming is not None:
            self.incoming.body.end()
            self.incoming = None

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if self.has_ended:
                    return
                data = self._without_upgrade(data[upgrade.args[0] :])

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Return a request, and what follows, without its upgrade headers: llhttp would skip its body."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            self.end(MalformedRequestError("This server is not a proxy"))
            return b""
        kept = [(name, value) for name, value in self._headers if name not in _UPGRADE_HEADERS]
        if not self._parser.should_keep_alive():
            kept.append((b"connection", b"close"))
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self._url, version), *[b"%b: %b" % header for header in kept], b"", b""]
        self._parser = httptools.HttpRequestParser(self)
        return b"\r\n".join(lines) + rest

    def _make_request(self, version: str) -> Request:
        """Return the request of the head that was parsed. Raises MalformedRequestError, httptools.HttpParserError."""
        if version not in ("1.0", "1.1"):
            raise MalformedRequestError(NO_HTTP)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise MalformedRequestError(HEAD_TOO_LONG)
        hosts = sum(name == b"host" for name, _ in self._headers)
        if hosts > 1 or (hosts == 0 and version != "1.0"):
            raise MalformedRequestError("Request must have one Host header")  # RFC 9112, 3.2
        environ = request_environ(self._shared_environ, self._parser.get_method(), self._url, version, self._headers)
        body = environ["wsgi.input"] = RequestBody(self._on_read, self._shedder)
        # RFC 9110, 10.1.1, and RFC 9112, 6.1: neither means anything, or is safe, in HTTP/1.0.
        body.awaits_continue = version != "1.0" and environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        is_chunked_1_0 = version == "1.0" and "HTTP_TRANSFER_ENCODING" in environ
        return Request(environ, body, is_last=is_chunked_1_0 or not self._parser.should_keep_alive())
