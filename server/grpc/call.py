"""A call as its handler sees it: metadata, request id, messages, and its end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from server.contract.identifiers import REQUEST_ID_HEADER, choose_request_id
from server.errors import GrpcStatus, IngestError, MalformedRequestError, PayloadTooLargeError
from server.grpc.compression import decompress
from server.grpc.errors import CallError
from server.grpc.messages import status_of
from server.grpc.wire import HEADERS, OK, encode_trailers
from server.http2.stream import Stream

# Where gRPC clients look for the google.rpc.Status of an error.
STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"
# Messages up to this many times the limit are read whole: a stream goes on after one that is too large, and one that is
# compressed may be smaller than it comes.
READ_LIMIT_FACTOR: Final = 4
_PREFIX_BYTES: Final = 5  # whether a message is compressed, and its length
_OK_WITH_REQUEST_ID: Final = OK + b"\0\x0c" + REQUEST_ID_HEADER.encode() + b"\x24"  # an id has 36 characters

# Answers a call: returns its only answer, or None when it has written all there are. Raises IngestError, CallError.
Handler: TypeAlias = Callable[["IncomingCall"], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class CallHead:
    """What the head of a call says."""

    handler: Handler | None  # None without a method of that name
    metadata: dict[str, str]
    timeout_s: float | None
    encoding: str
    content_length: int | None
    refusal: CallError | int | None  # the HTTP status of what is no gRPC


class IncomingCall:
    """One call."""

    def __init__(self, stream: Stream, head: "CallHead", max_body_bytes: int) -> None:
        self.header = head.metadata.get
        self.request_id = choose_request_id(head.metadata.get(REQUEST_ID_HEADER))
        self._stream = stream
        self._encoding = head.encoding
        self._max_body_bytes = max_body_bytes
        self._max_message_bytes = max_body_bytes * READ_LIMIT_FACTOR
        self._has_begun = False  # to answer
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + head.timeout_s if head.timeout_s is not None else None

    @property
    def is_overdue(self) -> bool:
        """Tell whether the deadline has passed: the client does not wait any more, so no work is begun for it."""
        return self._deadline is not None and self._loop.time() >= self._deadline

    @property
    def has_ended(self) -> bool:
        """Tell whether the client can be told nothing more."""
        return self._stream.is_closed

    def take(self) -> bytes | None:
        """Return the next message if it has arrived, and is not compressed."""
        received = self._stream.received
        if len(received) < _PREFIX_BYTES or received[0]:
            return None
        size = int.from_bytes(received[1:_PREFIX_BYTES], "big")
        if size > self._max_message_bytes:
            return None
        data = self._stream.take(_PREFIX_BYTES + size)
        return data[_PREFIX_BYTES:] if data is not None else None

    async def read_single(self) -> bytes | None:
        """Return the only message of a call; one that is too large is not waited for. Raises IngestError."""
        return await self._read(self._max_body_bytes)

    async def read(self) -> bytes | None:
        """Return the next message, None when there are no more. Raises IngestError."""
        return await self._read(self._max_message_bytes)

    async def _read(self, most_bytes: int) -> bytes | None:
        message = self.take()
        if message is not None:
            return message
        prefix = await self._stream.read(_PREFIX_BYTES)
        if not prefix:
            return None
        size = int.from_bytes(prefix[1:], "big")
        if size > (self._max_message_bytes if prefix[0] else most_bytes):
            raise PayloadTooLargeError(self._max_body_bytes)
        data = await self._stream.read(size)
        if len(prefix) < _PREFIX_BYTES or len(data) < size:
            raise MalformedRequestError("The call ended within a message")
        if prefix[0] == 0:
            return data
        if prefix[0] > 1 or self._encoding == "identity":
            raise MalformedRequestError("The message is compressed in a way that the call does not say")
        message = decompress(data, self._encoding, self._max_message_bytes)
        if len(message) > self._max_message_bytes:
            raise PayloadTooLargeError(self._max_body_bytes)
        return message

    def begin(self) -> None:
        """Send what comes before messages."""
        if not self._has_begun:
            self._has_begun = True
            self._stream.send_headers(HEADERS)

    async def write(self, message: bytes) -> None:
        """Send a message, as fast as the client takes it."""
        self.begin()
        await self._stream.send(_frame(message))

    async def finish(self, message: bytes | None) -> None:
        """End the call well, with a last message if there is one."""
        trailers = _OK_WITH_REQUEST_ID + self.request_id.encode()
        if message is not None:
            if not self._has_begun and self._stream.answer(HEADERS, _frame(message), trailers):
                return
            await self.write(message)
        self.begin()
        self._stream.end(trailers)

    def refuse(self, error: IngestError) -> None:
        """End the call with the status of `error`."""
        status = status_of(error, self.request_id)
        details = ((STATUS_DETAILS_KEY, status.SerializeToString()),)
        self.end(error.outcome.grpc_status, error.message, details)

    def end(self, status: GrpcStatus, message: str, metadata: Iterable[tuple[str, str | bytes]] = ()) -> None:
        """End the call with a status other than OK, unless it has ended."""
        if self._stream.is_closed:
            return
        trailers = encode_trailers(status, message, ((REQUEST_ID_HEADER, self.request_id), *metadata))
        self._stream.end(trailers if self._has_begun else HEADERS + trailers)


def _frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message
