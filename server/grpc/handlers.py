"""The gRPC face of the ingest service.

Handlers get the messages as bytes and decode them themselves, so that a key is checked before its body is.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, NoReturn

import grpc

from seestack.ingest.v1 import ingest_pb2
from server.access.api_key_header import find_raw_key
from server.contract.idempotency import IDEMPOTENCY_HEADER, claim_of
from server.contract.identifiers import REQUEST_ID_HEADER, choose_request_id
from server.errors import IngestError, ServiceUnavailableError
from server.failures import explain
from server.grpc.messages import batch_error_of, decode_batch, status_of
from server.observability.metrics import Protocol
from server.observability.request_report import RequestRecord
from server.service import IngestService
from storage.keys.api_keys import ApiKey
from storage.writing.submission import Submission

# Where gRPC clients look for the google.rpc.Status of an error.
STATUS_DETAILS_KEY = "grpc-status-details-bin"
SERVICE_NAME = ingest_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name

_UNARY = "IngestHttpRequests"
_STREAM = "StreamHttpRequests"

Context = grpc.aio.ServicerContext[Any, Any]


class _Call:
    """One call: its metadata, its request id, and how it ends badly."""

    def __init__(self, context: "Context", protocol: Protocol, rpc: str) -> None:
        self.context = context
        metadata: dict[str, str] = {}
        for name, value in context.invocation_metadata() or ():
            if isinstance(value, str):  # several of a name are one, as in HTTP (RFC 9110, 5.3)
                metadata[name] = f"{metadata[name]},{value}" if name in metadata else value
        self.header = metadata.get
        self.request_id = choose_request_id(metadata.get(REQUEST_ID_HEADER))
        context.set_trailing_metadata(((REQUEST_ID_HEADER, self.request_id),))
        self._protocol = protocol
        self._target = {"rpc": rpc}

    @property
    def is_overdue(self) -> bool:
        """Tell whether the deadline has passed: the client does not wait any more, so no work is begun for it."""
        remaining = self.context.time_remaining()
        return remaining is not None and remaining <= 0

    def begin(self) -> RequestRecord:
        """Return the record of a batch that has come now."""
        return RequestRecord(self._protocol, self.request_id, self._target)

    async def refuse(self, error: IngestError) -> NoReturn:
        """End the call with the status of `error`."""
        status = status_of(error, self.request_id)
        trailing_metadata = (
            (REQUEST_ID_HEADER, self.request_id),
            (STATUS_DETAILS_KEY, status.SerializeToString()),
        )
        await self.context.abort(error.outcome.grpc_status, error.message, trailing_metadata)


class _Batch(NamedTuple):
    """A batch of a stream, and its outcome to be."""

    record: RequestRecord
    outcome: Submission | IngestError


class _EndOfStream(NamedTuple):
    """Stands in the queue of outcomes after the last one; `error` says why, when the client did not end it."""

    error: IngestError | None


class GrpcIngestService:
    """Handlers of `seestack.ingest.v1.IngestService`."""

    # Batches of one stream that may be under way at once; reading stops there until the oldest is answered.
    MAX_AHEAD = 32

    def __init__(self, service: IngestService) -> None:
        self._service = service
        self._reporter = service.reporter
        self._readers: set[asyncio.Task[None]] = set()

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server needs to route calls here."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                _UNARY: grpc.unary_unary_rpc_method_handler(
                    self._ingest,
                    response_serializer=ingest_pb2.IngestHttpRequestsResponse.SerializeToString,
                ),
                _STREAM: grpc.stream_stream_rpc_method_handler(
                    self._stream,
                    response_serializer=ingest_pb2.StreamHttpRequestsResponse.SerializeToString,
                ),
            },
        )

    def stop_streams(self) -> None:
        """Take no further batch from any stream; those taken are still answered."""
        for reader in self._readers:
            reader.cancel()

    async def _ingest(self, data: bytes, context: "Context") -> ingest_pb2.IngestHttpRequestsResponse:
        call = _Call(context, Protocol.GRPC, _UNARY)
        record = call.begin()
        if call.is_overdue:
            self._reporter.report_abandoned(record)
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded")
        try:
            key = await self._authenticate(call, record)
            accepted = await self._submit(key, data, call.header(IDEMPOTENCY_HEADER)).stored()
        except asyncio.CancelledError:
            self._reporter.report_abandoned(record)
            raise
        except Exception as error:
            refusal = explain(error)
            await self._service.hold_back(refusal)
            await self._refuse(call, record, refusal)
        self._reporter.report_accepted(record, accepted)
        return ingest_pb2.IngestHttpRequestsResponse(ok=True, accepted=accepted)

    async def _stream(
        self, messages: AsyncIterator[bytes], context: "Context"
    ) -> AsyncIterator[ingest_pb2.StreamHttpRequestsResponse]:
        call = _Call(context, Protocol.GRPC_STREAM, _STREAM)
        outcomes: asyncio.Queue[_Batch | _EndOfStream] = asyncio.Queue(self.MAX_AHEAD)
        reader = asyncio.create_task(self._read(call, messages, outcomes))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        try:
            for sequence in itertools.count():
                outcome = await outcomes.get()
                if isinstance(outcome, _EndOfStream):
                    if outcome.error is not None:
                        await self._refuse(call, call.begin(), outcome.error)
                    return
                yield await self._answer(sequence, outcome)
        finally:
            reader.cancel()

    async def _read(
        self, call: _Call, messages: AsyncIterator[bytes], outcomes: "asyncio.Queue[_Batch | _EndOfStream]"
    ) -> None:
        """Start each batch of a stream as it comes, and queue its outcome to be."""
        end = _EndOfStream(None)
        try:
            # A bad key ends the stream before its first batch has come.
            await self._authenticate(call, call.begin())
            async for data in messages:
                if call.is_overdue:
                    break
                record = call.begin()
                key = await self._authenticate(call, record)
                try:
                    outcome: Submission | IngestError = self._submit(key, data)
                except Exception as error:
                    outcome = explain(error)
                await outcomes.put(_Batch(record, outcome))
                if isinstance(outcome, IngestError):
                    await self._service.hold_back(outcome)
        except asyncio.CancelledError:
            end = _EndOfStream(ServiceUnavailableError())
        except Exception as error:
            end = _EndOfStream(explain(error))
        await outcomes.put(end)

    async def _answer(self, sequence: int, batch: _Batch) -> ingest_pb2.StreamHttpRequestsResponse:
        record, outcome = batch
        try:
            if isinstance(outcome, IngestError):
                raise outcome
            accepted = await outcome.stored()
        except asyncio.CancelledError:
            self._reporter.report_abandoned(record)
            raise
        except Exception as error:
            refusal = explain(error)
            self._reporter.report_refused(record, refusal)
            return ingest_pb2.StreamHttpRequestsResponse(
                sequence=sequence, error=batch_error_of(refusal, record.request_id)
            )
        self._reporter.report_accepted(record, accepted)
        return ingest_pb2.StreamHttpRequestsResponse(sequence=sequence, accepted=accepted)

    async def _authenticate(self, call: _Call, record: RequestRecord) -> ApiKey:
        key = await self._service.authenticate(find_raw_key(call.header, lenient=self._service.lenient))
        record.project_id = key.project_id
        return key

    async def _refuse(self, call: _Call, record: RequestRecord, error: IngestError) -> NoReturn:
        self._reporter.report_refused(record, error)
        await call.refuse(error)

    def _submit(self, key: ApiKey, data: bytes, idempotency_key: str | None = None) -> Submission:
        usage = self._service.usage_of(key)
        if usage is not None:
            usage.take_request()
        self._service.check_size(len(data))
        batch = decode_batch(data)
        claim = claim_of(key.project_id, idempotency_key or batch.idempotency_key, data)
        return self._service.submit(key, batch, usage, claim)
