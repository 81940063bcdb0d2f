"""The gRPC side of the ingest service.

Handlers take the messages as bytes, and only when the service asks for them: a key is checked before its message is
read, and a message before it is decoded.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from seestack.ingest.v1 import ingest_pb2
from server.compiled.encoder import CompiledBatch, CompiledEncoder
from server.contract.batch import RawBatch
from server.contract.idempotency import IDEMPOTENCY_HEADER
from server.errors import GrpcStatus, IngestError, MalformedRequestError, ServiceUnavailableError
from server.grpc.call import Handler, IncomingCall
from server.grpc.errors import CallError
from server.grpc.message_reads import MessageReads
from server.grpc.messages import batch_error_of, decode_batch
from server.observability.metrics import Protocol
from server.observability.request_report import RequestRecord
from server.request import IngestRequest
from server.service import IngestService
from storage.keys.api_keys import ApiKey

SERVICE_NAME = ingest_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name

_UNARY: Final = "IngestHttpRequests"
_STREAM: Final = "StreamHttpRequests"
_PROTOCOLS: Final[Mapping[str, Protocol]] = {_UNARY: Protocol.GRPC, _STREAM: Protocol.GRPC_STREAM}
_TARGETS: Final[Mapping[str, Mapping[str, str]]] = {rpc: {"rpc": rpc} for rpc in _PROTOCOLS}

# The future outcomes of a stream's batches, in their order; None comes after the last.
_Outcomes: TypeAlias = "asyncio.Queue[asyncio.Task[int | IngestError] | None]"


class _Batch(IngestRequest):
    """A batch that has arrived."""

    def __init__(self, call: IncomingCall, rpc: str, data: bytes = b"") -> None:
        super().__init__(RequestRecord(_PROTOCOLS[rpc], call.request_id, _TARGETS[rpc]))
        self._call = call
        self._data = data

    def header(self, name: str) -> str | None:
        """See IngestRequest."""
        return self._call.header(name)

    async def read(self, limit: int) -> bytes:
        """See IngestRequest."""
        return self._data

    def encode(self, encoder: CompiledEncoder, body: bytes, key: ApiKey) -> CompiledBatch | None:
        """See IngestRequest."""
        return encoder.encode_message(body, key)

    def decode(self, body: bytes) -> RawBatch:
        """See IngestRequest."""
        return decode_batch(body)


class _UnaryBatch(_Batch):
    """The batch of a unary call, which may still be arriving."""

    def __init__(self, call: IncomingCall, reads: MessageReads) -> None:
        super().__init__(call, _UNARY)
        self._reads = reads
        self.idempotency_key = call.header(IDEMPOTENCY_HEADER)

    async def read(self, limit: int) -> bytes:
        """See IngestRequest."""
        message = self._call.take()
        if message is None:
            message = await self._reads.read(self._call.read_single)
        if message is None:
            raise MalformedRequestError("The call has no message")
        return message


class GrpcIngestService:
    """Handlers of `seestack.ingest.v1.IngestService`."""

    # Batches of one stream that may be under way at once; reading stops there until the oldest is answered.
    MAX_AHEAD = 32

    def __init__(self, service: IngestService, max_calls: int, reads: MessageReads) -> None:
        """Beyond `max_calls` under way, further ones are told to try again later; `reads` is for unary messages."""
        self._service = service
        self._max_calls = max_calls
        self._calls = 0
        self._reads = reads
        self._readers: set[asyncio.Task[IngestError | None]] = set()

    def methods(self) -> Mapping[str, Handler]:
        """Return the handlers by the names of their methods."""
        handlers = {_UNARY: self._ingest, _STREAM: self._stream}
        return {f"{SERVICE_NAME}/{rpc}": self._bounded(handle, rpc) for rpc, handle in handlers.items()}

    def stop_streams(self) -> None:
        """Take no further batch from any stream; those taken are still answered."""
        for reader in self._readers:
            reader.cancel()

    def _bounded(self, handle: "Callable[[IncomingCall], Awaitable[bytes | None]]", rpc: str) -> Handler:
        """Return a handler that begins no work for a call that is overdue, or one too many."""

        async def serve(call: IncomingCall) -> bytes | None:
            if call.is_overdue:
                self._service.reporter.report_abandoned(_Batch(call, rpc).record)
                raise CallError(GrpcStatus.DEADLINE_EXCEEDED, "Deadline exceeded")
            if self._calls >= self._max_calls:
                raise await self._service.refuse(_Batch(call, rpc).record, ServiceUnavailableError())
            self._calls += 1
            try:
                return await handle(call)
            finally:
                self._calls -= 1

        return serve

    async def _ingest(self, call: IncomingCall) -> bytes:
        outcome = await self._service.ingest(_UnaryBatch(call, self._reads))
        if isinstance(outcome, IngestError):
            raise outcome
        return ingest_pb2.IngestHttpRequestsResponse(ok=True, accepted=outcome).SerializeToString()

    async def _stream(self, call: IncomingCall) -> None:
        outcomes: _Outcomes = asyncio.Queue()
        room = asyncio.Semaphore(self.MAX_AHEAD)
        reader = asyncio.create_task(self._read(call, outcomes, room))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        reader.add_done_callback(lambda _: outcomes.put_nowait(None))
        try:
            for sequence in itertools.count():
                ingesting = await outcomes.get()
                if ingesting is None:
                    break
                await call.write(_respond(sequence, await ingesting, call.request_id))
                room.release()
            if reader.cancelled():
                self._service.reporter.report_stopped(_Batch(call, _STREAM).record)
                raise ServiceUnavailableError
            if (refusal := reader.result()) is not None:
                raise refusal
        finally:
            reader.cancel()
            while not outcomes.empty():
                if (ingesting := outcomes.get_nowait()) is not None:
                    ingesting.cancel()

    async def _read(self, call: IncomingCall, outcomes: "_Outcomes", room: asyncio.Semaphore) -> IngestError | None:
        """Begin each batch of a stream as it comes, and return why there are no more, unless its client ended it."""
        if (refusal := await self._service.admit(_Batch(call, _STREAM))) is not None:
            return refusal
        while (message := await call.read()) is not None and not call.is_overdue:
            batch = _Batch(call, _STREAM, message)
            await room.acquire()
            # Before the next one is read, so that they keep their order.
            if (refusal := await self._service.admit(batch)) is not None:
                return refusal
            outcomes.put_nowait(asyncio.create_task(self._service.ingest(batch)))
        return None


def _respond(sequence: int, outcome: int | IngestError, request_id: str) -> bytes:
    """Return the answer to a batch of a stream."""
    answer = ingest_pb2.StreamHttpRequestsResponse(sequence=sequence)
    if isinstance(outcome, IngestError):
        answer.error.CopyFrom(batch_error_of(outcome, request_id))
    else:
        answer.accepted = outcome
    return answer.SerializeToString()
