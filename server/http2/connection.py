"""One HTTP/2 connection of a client that knows beforehand that this is HTTP/2 (RFC 9113, 3.3)."""

import asyncio
import logging
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from server.http2.errors import ConnectionFault, ErrorCode
from server.http2.frames import MAX_STREAM_ID, PING, encode_frame, encode_goaway
from server.http2.session import DRAIN_PING, Limits, Session

SLOW_S: Final = 10.0  # for the preface, and from one piece of a header block to its last
SEND_TIMEOUT_S: Final = 60.0  # for a client that reads nothing
CLOSE_TIMEOUT_S: Final = 5.0  # for the last bytes to be taken
PING_AFTER_S: Final = 60.0  # of silence
PING_TIMEOUT_S: Final = 20.0
DRAIN_TIMEOUT_S: Final = 1.0  # for a client to see that no more streams are wanted

_KEEPALIVE = b"keepaliv"

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Shared:
    """What the connections of a process share."""

    limits: Limits
    max_connections: int
    open: "dict[Connection, None]" = field(default_factory=dict)  # the longest silent first, as far as is known


class Connection(asyncio.Protocol):
    """Reads from a client and writes to it, for as long as it keeps to the rules, and is there."""

    def __init__(self, shared: Shared, age_s: float) -> None:
        """After `age_s` seconds the client is asked to make its next requests on another connection."""
        self._loop = asyncio.get_running_loop()
        self._shared = shared
        self._transport: asyncio.Transport
        self._session = Session(shared.limits, self._write, self._close)
        self._reader = self._session.create_reader()
        now = self._loop.time()
        self._slow_since = now  # only while something must be complete soon
        self._heard_at = now
        self._unwritable_since = now
        self._closing_since: float | None = None
        self._ping_sent_at: float | None = None
        self._drains_at = now + age_s
        self._draining_since: float | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self._transport.abort()
            return
        self._shared.open[self] = None
        if len(self._shared.open) > self._shared.max_connections:
            self._make_room()
        self._session.open()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._closing_since is not None:
            return
        reader = self._reader
        self._heard_at = now = self._loop.time()
        was_between_blocks = reader.is_between_blocks
        try:
            reader.feed(data)
        except ConnectionFault as fault:
            self._fail(fault.code, str(fault))
        except Exception:
            _logger.exception("a connection failed")
            self._fail(ErrorCode.INTERNAL_ERROR, "")
        if was_between_blocks and not reader.is_between_blocks:
            self._slow_since = now
        # Only now: what a client resets at once costs little.
        begun, self._session.begun = self._session.begun, []
        for stream in begun:
            if not stream.is_closed:
                self._shared.limits.application.begin(stream)

    def eof_received(self) -> bool:
        """See asyncio.Protocol: a client that sends nothing more cannot keep its windows open."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._shared.open.pop(self, None)
        self._closing_since = self._closing_since or self._loop.time()
        self._session.close_streams()

    def pause_writing(self) -> None:
        """See asyncio.Protocol. Whatever is read may have to be answered, so nothing is read meanwhile."""
        self._session.is_writable = False
        self._unwritable_since = self._loop.time()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._session.is_writable = True
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._session.wake_blocked()

    # Called by the server.

    @property
    def heard_at(self) -> float:
        """When the client has sent something, in the event loop's time."""
        return self._heard_at

    @property
    def is_idle(self) -> bool:
        """Tell whether no stream is open."""
        return self._session.is_idle

    def check(self, now: float) -> None:
        """Do what is due; `now` is the event loop's time in seconds."""
        if self._is_overdue(now):
            self._transport.abort()
        elif self._closing_since is not None:
            pass
        elif self._is_drain_overdue(now):
            self._session.stop_streams()
        elif now > self._drains_at:
            self.stop()
        elif self._ping_sent_at is None and now > self._heard_at + PING_AFTER_S:
            self._ping_sent_at = now
            self._write(encode_frame(PING, 0, 0, _KEEPALIVE))

    def stop(self) -> None:
        """Take no more streams as soon as the client knows of it, and close after the last (RFC 9113, 6.8)."""
        if self._closing_since is not None or self._draining_since is not None:
            return
        if not self._reader.has_preface:
            self._close()
            return
        self._draining_since = self._loop.time()
        self._drains_at = float("inf")
        goodbye = encode_goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR, "draining")
        self._write(goodbye + encode_frame(PING, 0, 0, DRAIN_PING))

    def leave(self) -> None:
        """Close, and tell the client that it is not its fault."""
        self._fail(ErrorCode.NO_ERROR, "too many connections")

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # Called by the session.

    def _write(self, data: bytes) -> None:
        if self._closing_since is None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._closing_since is None:
            self._closing_since = self._loop.time()
            self._reader.has_stopped = True
            self._transport.close()

    def _fail(self, code: ErrorCode, reason: str) -> None:
        _logger.debug("a connection is closed: %s (%s)", code.name, reason)
        self._session.say_goodbye(code, reason)
        self._close()
        self._session.close_streams()

    def _is_overdue(self, now: float) -> bool:
        if self._closing_since is not None:
            return now > self._closing_since + CLOSE_TIMEOUT_S
        if not self._session.is_writable:
            return now > self._unwritable_since + SEND_TIMEOUT_S
        if not self._reader.is_between_blocks and now > self._slow_since + SLOW_S:
            return True
        if self._ping_sent_at is not None:
            if self._heard_at >= self._ping_sent_at:
                self._ping_sent_at = None
            else:
                return now > self._ping_sent_at + PING_TIMEOUT_S
        return False

    def _is_drain_overdue(self, now: float) -> bool:
        if self._draining_since is None or self._session.is_draining:
            return False
        return now > self._draining_since + DRAIN_TIMEOUT_S

    def _make_room(self) -> None:
        """Close the connection without a call that has been silent longest; when each has one, this connection."""
        idle = (connection for connection in self._shared.open if connection.is_idle)
        min(idle, key=attrgetter("heard_at"), default=self).leave()
