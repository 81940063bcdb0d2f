"""The ingest service: what happens to a request, whichever protocol it came by.

The order is the contract's: authenticate, limit the requests, limit the size, decode (the protocol's part), validate,
limit the rows, store.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial

from server.access.authentication import Authenticator
from server.access.rate_limits import Usage
from server.access.refusal_pacing import RefusalPacer
from server.access.token_buckets import Buckets
from server.contract.batch import RawBatch
from server.contract.validation import validate_batch
from server.errors import IngestError, PayloadTooLargeError, RateLimitedError, ServiceUnavailableError
from server.observability.metrics import WorkerMetrics
from server.observability.request_report import RequestReporter
from server.processes.spool_drain import open_spool
from server.settings import Contract, Settings
from storage.database import check_ready, open_pool, run
from storage.errors import SpoolError, StorageUnavailableError
from storage.keys.api_keys import ApiKey
from storage.keys.snapshot import KeySnapshot
from storage.spool.spool import SpoolStatus
from storage.writing.claims import Claim, find_bodies
from storage.writing.row_encoding import encode_batch
from storage.writing.submission import Submission
from storage.writing.writer import EventWriter


class IngestService:
    """Authenticates, limits, validates and stores batches. One instance serves a process, on its event loop."""

    CLOSE_TIMEOUT_S = 5.0
    QUERY_TIMEOUT_S = 3.0
    POOL_SIZE = 2  # one connection for keys, one for readiness
    SAMPLE_INTERVAL_S = 0.5

    def __init__(
        self, settings: Settings, *, database_url: str, name: str, metrics: WorkerMetrics, buckets: Buckets
    ) -> None:
        """Prepare to serve; to be called on the event loop, before `start`. `buckets` are those of all workers."""
        self.reporter = RequestReporter(metrics)
        self.lenient = settings.contract is Contract.LENIENT
        self.max_body_bytes = settings.max_body_bytes
        self._buckets = buckets
        self._pacer = RefusalPacer()
        self._pool = open_pool(database_url, size=self.POOL_SIZE, name=name)
        self._metrics = metrics
        self._spool = open_spool(settings)
        copy = KeySnapshot(settings.data_dir) if self._spool is not None else None
        self._authenticator = Authenticator(self._pool, copy, metrics.observe_lookup_wait)
        create_writer = partial(EventWriter, database_url, name=name, spool=self._spool, on_flush=metrics.count_flush)
        # Batches with idempotency keys are written apart, so that the others pay nothing for it.
        self._writer, self._claiming_writer = create_writer(), create_writer(find_bodies=self._find_bodies)
        self._sampler = asyncio.create_task(self._sample_write_queues())

    async def start(self) -> None:
        """Begin to connect to the database, which need not be up."""
        await self._pool.open()

    async def authenticate(self, raw_key: str) -> ApiKey:
        """Return the row of a key that is valid now; waits for the database when it is not cached.

        Raises InvalidApiKeyError; ServiceUnavailableError when the database cannot be asked.
        """
        return await self._authenticator.authenticate(raw_key)

    def usage_of(self, key: ApiKey) -> Usage | None:
        """Return what is to count a request against the limits of its key; None for a key without limits."""
        return Usage(key, self._buckets) if key.is_limited else None

    async def hold_back(self, error: IngestError) -> None:
        """Wait before a request that was over a limit is answered, or in a stream before the next; others do not."""
        if isinstance(error, RateLimitedError):
            await self._pacer.wait()

    def check_size(self, size: int) -> None:
        """Raise PayloadTooLargeError when a body of `size` bytes is more than is allowed."""
        if size > self.max_body_bytes:
            raise PayloadTooLargeError(self.max_body_bytes)

    def submit(
        self, key: ApiKey, batch: RawBatch, usage: Usage | None = None, claim: Claim | None = None
    ) -> Submission:
        """Validate a batch and begin to store it, whole or not at all; the submission tells when it is durable.

        `usage` is what `usage_of` gave for the request. A batch whose `claim` was stored within the last day is not
        stored again. Raises ValidationFailedError, RateLimitedError; what is raised when it cannot be stored is a
        StorageError (see server.failures).
        """
        columns = validate_batch(batch, key.project_id, lenient=self.lenient)
        if usage is not None:
            usage.take_rows(len(columns.trace_id))
        writer = self._writer if claim is None else self._claiming_writer
        return writer.submit(encode_batch(key.project_id, columns, claim))

    async def check_ready(self) -> SpoolStatus | None:
        """Return what is in the spool, None without one that can be used.

        Raises ServiceUnavailableError when a batch could be kept neither in the database nor in the spool now.
        """
        status = None
        if self._spool is not None:
            with suppress(SpoolError):
                status = self._spool.status()
        try:
            await check_ready(self._pool)
            if self._authenticator.is_away:
                raise StorageUnavailableError("the database could not be asked for keys when it last was")
        except StorageUnavailableError as error:
            if status is None or status.is_full:
                raise ServiceUnavailableError from error
        return status

    async def close(self) -> None:
        """Store what was accepted and release the database."""
        await asyncio.gather(*(writer.close(self.CLOSE_TIMEOUT_S) for writer in (self._writer, self._claiming_writer)))
        self._sampler.cancel()
        await self._authenticator.close()
        await self._pool.close(self.CLOSE_TIMEOUT_S)
        if self._spool is not None:
            self._spool.close()

    async def _find_bodies(self, ids: Collection[bytes]) -> Mapping[bytes, bytes]:
        return await run(self._pool, partial(find_bodies, ids=ids), self.QUERY_TIMEOUT_S)

    async def _sample_write_queues(self) -> None:
        writers = (self._writer, self._claiming_writer)
        while True:
            batches = sum(writer.pending_batches for writer in writers)
            self._metrics.set_write_queue(batches, sum(writer.pending_bytes for writer in writers))
            await asyncio.sleep(self.SAMPLE_INTERVAL_S)
