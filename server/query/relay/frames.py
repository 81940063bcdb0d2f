"""What is said over a relayed connection: one call, then the start, the messages and the end of its answer."""

import asyncio
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

from server.access.sessions import Identity
from server.contract.query_method import QueryMethod
from server.errors import ErrorCode, IngestError
from server.observability.metrics import Protocol

# What of the client's headers the service looks at.
HEADERS: Final = ("x-seestack-key", "authorization", "origin")

_HEAD = struct.Struct("=BI")


class Kind(IntEnum):
    """Kinds of frames; the payload of each but MESSAGE is msgpack."""

    CALL = 0  # a Call or a Task
    START = 1  # headers of the answer; before any message, also before a refusal
    MESSAGE = 2  # bytes for the client as they are
    END = 3  # a Refusal, or nothing when the answer is complete


class Call(msgspec.Struct, tag=True):
    """A query: its parameters as text (HTTP), or the message of the call (gRPC)."""

    method: QueryMethod
    protocol: Protocol
    request_id: str
    target: dict[str, str]
    headers: dict[str, str]
    parameters: list[tuple[str, str]] = []
    message: bytes = b""
    session: Identity | None = None  # of a page, which then needs no key; set by a worker alone, from a signed cookie
    is_shared: bool = False  # whether an answer that others got just now will do, as for a page that refreshes itself


class Refusal(msgspec.Struct):
    """An error, as far as clients are told."""

    code: ErrorCode
    message: str
    details: dict[str, str]
    retry_after_s: float | None

    @classmethod
    def of(cls, error: IngestError) -> "Refusal":
        """Return what is told of an error."""
        return cls(error.code, error.message, dict(error.details), error.retry_after_s)

    def to_error(self) -> IngestError:
        """Return the error again."""
        error = IngestError(self.message, self.details)
        error.code = self.code
        error.retry_after_s = self.retry_after_s
        return error


class Connection:
    """One side of a relayed connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, kind: Kind, payload: object) -> None:
        """Send a frame, once the other side has room. Raises ConnectionError."""
        if self._writer.is_closing():
            raise ConnectionResetError
        data = payload if isinstance(payload, bytes) else msgspec.msgpack.encode(payload)
        self._writer.write(_HEAD.pack(kind, len(data)) + data)
        await self._writer.drain()

    async def receive(self) -> tuple[Kind, bytes]:
        """Return the next frame. Raises ConnectionError, also when the other side ends before there is one."""
        try:
            kind, length = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
            return Kind(kind), await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError from error

    async def closed(self) -> None:
        """Wait until the other side has closed the connection; it sends nothing meanwhile."""
        await self._reader.read(1)

    def close(self) -> None:
        """Close the connection; what was sent still arrives."""
        self._writer.close()


Headers = Mapping[str, str]
