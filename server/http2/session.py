"""What both sides of a connection know of it (RFC 9113): settings, streams, windows; what each frame changes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from server.http2.allowances import Allowance, PingPolicy
from server.http2.application import Application
from server.http2.errors import ConnectionFault, ErrorCode, StreamFault
from server.http2.frame_reader import FrameReader
from server.http2.frames import (
    ACK,
    DATA,
    DEFAULT_MAX_FRAME,
    DEFAULT_WINDOW,
    ENABLE_PUSH,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_LIMIT,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_WINDOW,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    decode_number,
    decode_settings,
    encode_frame,
    encode_goaway,
    encode_reset,
    encode_settings,
    encode_window_update,
    without_padding,
)
from server.http2.header_blocks import MAX_LIST_BYTES, HeaderDecoder, MalformedHeadersError
from server.http2.held_bytes import HeldBytes
from server.http2.stream import Stream
from server.http2.stream_table import StreamTable

# What all streams of a connection may bring before the client must wait for an update. It is granted again as the bytes
# come, so that no stream holds up another; what is kept is bounded by the streams' own windows, and by HeldBytes.
WINDOW: Final = 2**22
DRAIN_PING: Final = b"draining"


@dataclass(slots=True)
class Limits:
    """What the sessions of a process share."""

    application: Application
    held: HeldBytes
    max_streams: int


class Session:
    """Takes the frames of a client, keeps its streams, and writes the frames that answer."""

    def __init__(self, limits: Limits, write: Callable[[bytes], None], on_finished: Callable[[], None]) -> None:
        """`on_finished` is called when no streams are taken any more, and the last has ended."""
        self.loop = asyncio.get_running_loop()
        self.held = limits.held
        self.peer_window = DEFAULT_WINDOW  # of streams that begin
        self.peer_max_frame = DEFAULT_MAX_FRAME
        self.send_window = DEFAULT_WINDOW
        self.is_writable = True
        self.blocked: set[Stream] = set()  # streams that wait for room to send
        self.begun: list[Stream] = []  # since the connection has looked
        self.is_draining = False  # no new streams are taken
        self._limits = limits
        self._write = write
        self._on_finished = on_finished
        self._decoder: HeaderDecoder[Any] = HeaderDecoder(limits.application.parse)
        self._streams = StreamTable()
        self._served_id = 0  # of the latest stream that was taken
        self._receive_window = WINDOW
        self._has_said_table_size = False
        self._idle_frames = Allowance("frames that bring nothing", burst=1000, a_second=50)
        self._resets = Allowance("resets", burst=1000, a_second=200)
        self._pings = PingPolicy()

    def create_reader(self) -> FrameReader:
        """Return what hands frames to this session."""
        handlers = {
            DATA: self._on_data,
            HEADERS: self._on_headers,
            PRIORITY: self._on_priority,
            RST_STREAM: self._on_reset,
            SETTINGS: self._on_settings,
            PUSH_PROMISE: self._on_push_promise,
            PING: self._on_ping,
            GOAWAY: self._on_goaway,
            WINDOW_UPDATE: self._on_window_update,
        }
        return FrameReader(handlers, self._on_unknown, self._on_stream_fault)

    # Called by streams.

    def send(self, data: bytes) -> None:
        """Send frames."""
        self._pings.reset()
        self._write(data)

    def with_table_size(self, block: bytes) -> bytes:
        """Return a block that, as the first of the connection, says that no dynamic table is used (RFC 7541, 4.2)."""
        if self._has_said_table_size:
            return block
        self._has_said_table_size = True
        return b"\x20" + block

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """End a stream, whether it is known or not."""
        self.send(encode_reset(stream_id, code))
        self._close_stream(stream_id, is_cut=True)

    def forget(self, stream: Stream) -> None:
        """End a stream that is answered; what its client still sends is not wanted."""
        if not stream.has_ended:
            self.send(encode_reset(stream.id, ErrorCode.NO_ERROR))
        self._close_stream(stream.id, is_cut=True)

    # Called by the connection.

    @property
    def is_idle(self) -> bool:
        """Tell whether no stream is open."""
        return not self._streams

    def open(self) -> None:
        """Say what this side wants."""
        settings = ((MAX_CONCURRENT_STREAMS, self._limits.max_streams), (MAX_HEADER_LIST_SIZE, MAX_LIST_BYTES))
        self.send(encode_settings(settings) + encode_window_update(0, WINDOW - DEFAULT_WINDOW))

    def stop_streams(self) -> None:
        """Take no more streams; `on_finished` comes after the last."""
        if not self.is_draining:
            self.is_draining = True
            self.say_goodbye(ErrorCode.NO_ERROR, "")
        if not self._streams:
            self._on_finished()

    def say_goodbye(self, code: ErrorCode, reason: str) -> None:
        """Tell the client up to which stream it was served."""
        self.send(encode_goaway(self._served_id, code, reason))

    def close_streams(self) -> None:
        """End all streams; what they do is cancelled."""
        for stream in self._streams.clear():
            stream.close()

    def wake_blocked(self) -> None:
        """Let streams that wait for room look again."""
        for stream in self.blocked:
            stream.wake_sender()

    # Frames.

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._receive_window -= size
        if self._receive_window < WINDOW // 2:
            if self._receive_window < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more than the window of the connection")
            self.send(encode_window_update(0, WINDOW - self._receive_window))
            self._receive_window = WINDOW
        data = without_padding(flags, payload)
        is_last = bool(flags & END_STREAM)
        if not data and not is_last:
            self._idle_frames.take(self.loop.time())
        stream = self._streams.find_receiving(stream_id)
        if stream is not None:
            stream.feed(data, size, is_last=is_last)

    def _on_headers(self, flags: int, stream_id: int, block: bytes) -> None:
        is_last = bool(flags & END_STREAM)
        if not self._streams.opens(stream_id):
            self._on_trailers(stream_id, block, is_last=is_last)
            return
        try:
            head = self._decoder.decode_request(block)
        except MalformedHeadersError:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR) from None
        if self.is_draining or len(self._streams) >= self._limits.max_streams:
            raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM)
        self._served_id = stream_id
        stream = Stream(self, stream_id, head, head.content_length)
        self._streams.add(stream)
        self.begun.append(stream)
        if is_last:
            stream.feed(b"", 0, is_last=True)

    def _on_trailers(self, stream_id: int, block: bytes, *, is_last: bool) -> None:
        headers = self._decoder.decode(block)
        stream = self._streams.find_ending(stream_id)
        if stream is None:
            return
        if not stream.has_ended and (not is_last or any(name.startswith(b":") for name, _ in headers)):
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        stream.feed(b"", 0, is_last=True)

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of the connection")
        if len(payload) != 5:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR)
        self._idle_frames.take(self.loop.time())

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        decode_number(payload)
        self._streams.find(stream_id)
        self._resets.take(self.loop.time())
        self._close_stream(stream_id, is_cut=False)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that acknowledge have a payload")
            return
        self._idle_frames.take(self.loop.time())
        for name, value in decode_settings(payload):
            self._apply(name, value)
        self._write(encode_frame(SETTINGS, ACK, 0, b""))

    def _apply(self, name: int, value: int) -> None:
        if name == INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
            change, self.peer_window = value - self.peer_window, value
            try:
                for stream in self._streams:
                    stream.grow_send_window(change)
            except StreamFault:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large") from None
        elif name == MAX_FRAME_SIZE:
            if not DEFAULT_MAX_FRAME <= value <= MAX_FRAME_LIMIT:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")
            self.peer_max_frame = value
        elif name == ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE of a client")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING of a wrong length")
        if not flags & ACK:
            self._pings.take(self.loop.time())
            self._write(encode_frame(PING, ACK, 0, payload))
        elif payload == DRAIN_PING:
            self.stop_streams()

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a wrong length")
        self.stop_streams()

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        increment = decode_number(payload)
        if stream_id:
            if not increment:
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
            stream = self._streams.find(stream_id)
            if stream is not None:
                stream.grow_send_window(increment)
            return
        if not increment:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
        self.send_window += increment
        if self.send_window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection is too large")
        self.wake_blocked()

    def _on_unknown(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._idle_frames.take(self.loop.time())

    def _on_stream_fault(self, fault: StreamFault) -> None:
        self._resets.take(self.loop.time())
        self.reset(fault.stream_id, fault.code)

    def _close_stream(self, stream_id: int, *, is_cut: bool) -> None:
        stream = self._streams.remove(stream_id, is_cut=is_cut)
        if stream is not None:
            stream.close()
        if self.is_draining and not self._streams:
            self._on_finished()
