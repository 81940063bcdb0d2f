"""From the bytes of a connection to frames; header blocks come whole, whatever frames they were cut into."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from server.http2.errors import ConnectionFault, ErrorCode, StreamFault
from server.http2.frames import (
    CONTINUATION,
    DEFAULT_MAX_FRAME,
    END_HEADERS,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    PREFACE,
    SETTINGS,
    without_padding,
    without_priority,
)
from server.http2.header_blocks import MAX_BLOCK_BYTES

MAX_BLOCK_FRAMES: Final = 32  # HEADERS and its CONTINUATIONs

# Takes flags, stream and payload of a frame. Raises ConnectionFault, StreamFault.
Handler: TypeAlias = Callable[[int, int, bytes], None]


class FrameReader:
    """Hands each frame to the handler of its type."""

    def __init__(
        self, handlers: Mapping[int, Handler], on_unknown: Handler, on_fault: Callable[[StreamFault], None]
    ) -> None:
        """The handler of HEADERS gets header blocks; `on_fault` is told what handlers raise about a stream."""
        self._handlers = {**handlers, HEADERS: self._on_headers, CONTINUATION: self._on_continuation}
        self._on_block = handlers[HEADERS]
        self._on_unknown = on_unknown
        self._on_fault = on_fault
        self._rest = b""
        self._has_settings = False
        self._parts: list[bytes] = []  # of the header block that is coming in
        self._parts_bytes = self._block_of = self._block_flags = 0
        self.has_preface = False
        self.has_stopped = False  # nothing more is read

    @property
    def is_between_blocks(self) -> bool:
        """Tell whether neither the preface nor a header block is coming in."""
        return self.has_preface and not self._parts

    def feed(self, data: bytes) -> None:
        """Take bytes that have arrived. Raises ConnectionFault."""
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        if not self.has_preface:
            if not data.startswith(PREFACE[:size]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2")
            if size >= len(PREFACE):
                at, self.has_preface = len(PREFACE), True
        handlers, unpack = self._handlers, HEAD.unpack_from
        while self.has_preface and size - at >= HEAD_BYTES and not self.has_stopped:
            high, low, kind, flags, stream_id = unpack(data, at)
            start = at + HEAD_BYTES
            end = start + (high << 8 | low)
            if end - start > DEFAULT_MAX_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
            if end > size:
                break
            if self._parts and kind != CONTINUATION:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")
            if not self._has_settings:
                self._expect_settings(kind, flags)
            try:
                handlers.get(kind, self._on_unknown)(flags, stream_id & 0x7FFF_FFFF, data[start:end])
            except StreamFault as fault:
                self._on_fault(fault)
            at = end
        self._rest = data[at:]

    def _expect_settings(self, kind: int, flags: int) -> None:
        if kind != SETTINGS or flags:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is no SETTINGS")
        self._has_settings = True

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = without_priority(flags, without_padding(flags, payload))
        if flags & END_HEADERS:
            self._on_block(flags, stream_id, block)
        else:
            self._parts, self._parts_bytes = [block], len(block)
            self._block_flags, self._block_of = flags, stream_id

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._parts or stream_id != self._block_of:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._parts.append(payload)
        self._parts_bytes += len(payload)
        if len(self._parts) > MAX_BLOCK_FRAMES or self._parts_bytes > MAX_BLOCK_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "headers are too large")
        if flags & END_HEADERS:
            block, self._parts = b"".join(self._parts), []
            self._on_block(self._block_flags, stream_id, block)
