"""What ends a stream or a connection (RFC 9113, 5.4 and 7)."""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Reasons, by their numbers on the wire."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class ConnectionFault(Exception):  # noqa: N818 - the RFC's "connection error" is a builtin here
    """The client did something after which the connection cannot be used any more."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        """`reason` is told to the client."""
        super().__init__(reason)
        self.code = code


class StreamFault(Exception):  # noqa: N818
    """The client did something after which only this stream cannot be used any more."""

    def __init__(self, stream_id: int, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.stream_id = stream_id
        self.code = code
