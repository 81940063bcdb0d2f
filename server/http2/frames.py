"""Frames (RFC 9113, 4 and 6): their layout, and those that a server sends."""

import struct
from collections.abc import Iterable
from typing import Final

from server.http2.errors import ConnectionFault, ErrorCode

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

# Settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

HEAD: Final = struct.Struct(">HBBBI")  # length (16 + 8 bits), type, flags, stream
HEAD_BYTES: Final = 9
DEFAULT_WINDOW: Final = 65_535
DEFAULT_MAX_FRAME: Final = 16_384
MAX_FRAME_LIMIT: Final = 2**24 - 1
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1

_PRIORITY_BYTES = 5
_SETTING = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")
_HEAD_AND_NUMBER = struct.Struct(">HBBBII")


def encode_head(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Return the first nine bytes of a frame."""
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def encode_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Return a frame."""
    return encode_head(kind, flags, stream_id, len(payload)) + payload


def encode_settings(settings: Iterable[tuple[int, int]]) -> bytes:
    """Return the SETTINGS of this side."""
    return encode_frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in settings))


def encode_window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE; stream 0 is the connection."""
    return _HEAD_AND_NUMBER.pack(0, 4, WINDOW_UPDATE, 0, stream_id, increment)


def encode_reset(stream_id: int, code: ErrorCode) -> bytes:
    """Return a RST_STREAM."""
    return _HEAD_AND_NUMBER.pack(0, 4, RST_STREAM, 0, stream_id, code)


def encode_goaway(last_stream_id: int, code: ErrorCode, reason: str = "") -> bytes:
    """Return a GOAWAY: streams up to `last_stream_id` are or were served."""
    return encode_frame(GOAWAY, 0, 0, _NUMBER.pack(last_stream_id) + _NUMBER.pack(code) + reason.encode())


def decode_settings(payload: bytes) -> Iterable[tuple[int, int]]:
    """Return the settings of a client. Raises ConnectionFault."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    return _SETTING.iter_unpack(payload)


def decode_number(payload: bytes) -> int:
    """Return the 31 bits of a frame that has nothing else. Raises ConnectionFault."""
    if len(payload) != _NUMBER.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame of a wrong length")
    number: int = _NUMBER.unpack(payload)[0]
    return number & 0x7FFF_FFFF


def without_padding(flags: int, payload: bytes) -> bytes:
    """Return what DATA or HEADERS bring, without their padding. Raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def without_priority(flags: int, payload: bytes) -> bytes:
    """Return what HEADERS bring without their priority, which means nothing any more. Raises ConnectionFault."""
    if not flags & WITH_PRIORITY:
        return payload
    if len(payload) < _PRIORITY_BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without the priority that they announce")
    return payload[_PRIORITY_BYTES:]
