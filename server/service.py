"""The ingest service: what happens to a request, on either protocol.

The order is the contract's, and `IngestService.ingest` owns it: authenticate, count the request, bound the
size, decode, validate, count the rows, store, report.
"""

import asyncio
from contextlib import suppress

from server.access.api_key_header import find_raw_key
from server.access.authentication import Authenticator
from server.access.rate_limits import Usage
from server.access.refusal_pacing import RefusalPacer
from server.access.token_buckets import Buckets
from server.compiled.encoder import choose_encoder
from server.contract.idempotency import claim_of
from server.contract.validation import validate_batch
from server.errors import (
    BodyCutOffError,
    IngestError,
    PayloadTooLargeError,
    RateLimitedError,
    ServiceUnavailableError,
    explain,
)
from server.observability.metrics import WorkerMetrics
from server.observability.request_report import RequestRecord, RequestReporter
from server.placing import open_writer
from server.request import IngestRequest
from server.row_handover import RowSender
from server.settings import Contract, Settings
from server.spools import open_spool
from storage.database import check_ready, open_pool
from storage.errors import SpoolError, StorageUnavailableError
from storage.keys.api_keys import ApiKey, Scope
from storage.keys.snapshot import KeySnapshot
from storage.spool.spool import SpoolStatus
from storage.writing.flush_report import FlushReport
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch
from storage.writing.submission import Submission
from storage.writing.writer import EventWriter


class IngestService:
    """Authenticates, limits, validates and stores batches. One instance serves a process, on its event loop."""

    CLOSE_TIMEOUT_S = 5.0
    POOL_SIZE = 2  # for keys, readiness, and what the writer asks
    CONNECTIONS = POOL_SIZE + EventWriter.MAX_CONNECTIONS  # the most to Postgres of a process
    SAMPLE_INTERVAL_S = 0.5

    def __init__(
        self,
        settings: Settings,
        *,
        database_url: str,
        name: str,
        metrics: WorkerMetrics,
        buckets: Buckets,
        sender: RowSender | None = None,
    ) -> None:
        """Prepare to serve; to be called on the event loop, before `start`. `buckets` are those of all workers.

        `sender` hands over rows that are stored.
        """
        self.reporter = RequestReporter(metrics)
        self._is_lenient = settings.contract is Contract.LENIENT
        self._max_body_bytes = settings.max_body_bytes
        self._buckets = buckets
        self._compiled = choose_encoder(settings.compiled)
        self._pacer = RefusalPacer()
        self._pool = open_pool(database_url, size=self.POOL_SIZE, name=name)
        self._metrics = metrics
        self._spool = open_spool(settings)
        copy = KeySnapshot(self._spool.folder) if self._spool is not None else None
        self._authenticator = Authenticator(self._pool, copy, metrics.observe_lookup_wait)
        self._sender = sender
        self._writer = open_writer(
            settings, database_url, name=name, pool=self._pool, spool=self._spool, on_flush=self._note_flush
        )
        self._sampler = asyncio.create_task(self._sample_gauges())

    async def start(self) -> None:
        """Begin to connect to the database, which need not be up."""
        await self._pool.open()
        if self._sender is not None:
            await self._sender.start()
        await self._writer.start()

    async def ingest(self, request: IngestRequest) -> int | IngestError:
        """Process a request completely and report it.

        Return the number of its rows, which are durable then, or why it is refused, when it is time to say so.
        Being cancelled withdraws the request.
        """
        try:
            submission = await self._submit(request)
            rows = await submission.stored()
        except asyncio.CancelledError:
            self.reporter.report_abandoned(request.record)
            raise
        except Exception as error:
            return await self.refuse(request.record, error)
        self.reporter.report_accepted(request.record, rows)
        return rows

    async def admit(self, request: IngestRequest) -> IngestError | None:
        """Check the key of a request that may come later, as the batches of a stream do; return why it is refused."""
        try:
            await self._authenticate(request)
        except Exception as error:
            return await self.refuse(request.record, error)
        return None

    async def refuse(self, record: RequestRecord, error: Exception) -> IngestError:
        """Report a request that ended with `error`, and return the refusal, after the pause of its pacing."""
        refusal = explain(error)
        try:
            if isinstance(refusal, RateLimitedError):
                await self._pacer.wait()
        finally:
            if isinstance(refusal, BodyCutOffError):
                self.reporter.report_abandoned(record)
            else:
                self.reporter.report_refused(record, refusal)
        # Frames hold bodies, and would live until the next garbage collection.
        refusal.__traceback__ = refusal.__cause__ = refusal.__context__ = None
        return refusal

    async def check_ready(self) -> SpoolStatus | None:
        """Return the status of the spool, None without a usable one.

        Raises ServiceUnavailableError when a batch could be kept neither in the database nor in the spool now.
        """
        status = None
        if self._spool is not None:
            with suppress(SpoolError):
                status = self._spool.status()
            # A database that is down takes seconds to say so, and nothing depends on it while there is room.
            if await asyncio.to_thread(self._spool.has_room):
                return status
        try:
            await check_ready(self._pool)
            if self._authenticator.is_down or not self._writer.is_dependable:
                raise StorageUnavailableError("keys could not be looked up, or rows not stored, at the last attempt")
        except StorageUnavailableError as error:
            raise ServiceUnavailableError from error
        return status

    async def close(self) -> None:
        """Store what was accepted and release the database."""
        await self._writer.close(self.CLOSE_TIMEOUT_S)
        self._sampler.cancel()
        await self._authenticator.close()
        await self._pool.close(self.CLOSE_TIMEOUT_S)
        if self._sender is not None:
            self._sender.close()
        if self._spool is not None:
            self._spool.close()

    async def _submit(self, request: IngestRequest) -> Submission:
        """Do all steps before storing, in the order of the contract, and submit the batch."""
        key = request.key or await self._authenticate(request)
        if key.is_limited:
            request.usage = Usage(key, self._buckets)
            request.usage.take_request()
        body = await request.read(self._max_body_bytes)
        if len(body) > self._max_body_bytes:
            raise PayloadTooLargeError(self._max_body_bytes)
        return self._writer.submit(self._encode_compiled(request, key, body) or self._encode(request, key, body))

    def _encode_compiled(self, request: IngestRequest, key: ApiKey, body: bytes) -> EncodedBatch | None:
        """Do what `_encode` does, when compiled code can tell that nothing is wrong with the batch."""
        if self._compiled is None:
            return None
        batch = request.encode(self._compiled, body, key)
        if batch is None:
            return None
        claim = claim_of(key.project_id, request.idempotency_key, batch.idempotency_key, body)
        if request.usage is not None:
            request.usage.take_rows(batch.rows)
        return EncodedBatch(batch.rows, batch.data, claim, HTTP_REQUESTS.form)

    def _encode(self, request: IngestRequest, key: ApiKey, body: bytes) -> EncodedBatch:
        """Decode, check the idempotency key, validate, count the rows, and encode."""
        batch = request.decode(body)
        claim = claim_of(key.project_id, request.idempotency_key, batch.idempotency_key, body)
        values = validate_batch(batch, key.project_id, lenient=self._is_lenient)
        if request.usage is not None:
            request.usage.take_rows(HTTP_REQUESTS.count(values))
        return HTTP_REQUESTS.encode(key.project_number, values, claim)

    async def _authenticate(self, request: IngestRequest) -> ApiKey:
        raw_key = find_raw_key(request.header, lenient=self._is_lenient)
        key = await self._authenticator.authenticate(raw_key, Scope.INGEST, request.header("origin"))
        request.key = key
        request.record.project_id = key.project_id
        return key

    def _note_flush(self, report: FlushReport) -> None:
        self._metrics.count_flush(report)
        if self._sender is not None:
            self._sender.send(report)

    async def _sample_gauges(self) -> None:
        while True:
            self._metrics.set_write_queue(self._writer.pending_batches, self._writer.pending_bytes)
            self._metrics.set_connections(self._writer.open_connections + self._pool.get_stats().get("pool_size", 0))
            await asyncio.sleep(self.SAMPLE_INTERVAL_S)
