"""The ingest service: what happens to a request, whichever protocol it came by.

The order is the contract's: authenticate, limit the size, decode (the protocol's part), validate, store.
"""

import asyncio
import threading

from psycopg_pool import ConnectionPool

from server.authentication import Authenticator
from server.batch import RawBatch
from server.errors import PayloadTooLargeError, ServiceUnavailableError
from server.settings import Contract, Settings
from server.validation import validate_batch
from storage.api_keys import ApiKey
from storage.database import check_ready, open_pool
from storage.errors import StorageUnavailableError
from storage.http_requests import EncodedBatch, encode_batch
from storage.writer import EventWriter, Submission


class IngestService:
    """Authenticates, limits, validates and stores batches. One instance serves a process, from any thread."""

    CLOSE_TIMEOUT_S = 5.0

    def __init__(self, settings: Settings, *, database_url: str, name: str) -> None:
        self.lenient = settings.contract is Contract.LENIENT
        self.max_body_bytes = settings.max_body_bytes
        # One connection for each flusher, one for keys, one for readiness.
        self._pool: ConnectionPool = open_pool(database_url, size=EventWriter.FLUSHERS + 2, name=name)
        self._authenticator = Authenticator(self._pool)
        self._writer = EventWriter(self._pool)

    def authenticate(self, raw_key: str) -> ApiKey:
        """Return the row of a key that is valid now; waits for the database when it is not cached.

        Raises InvalidApiKeyError; ServiceUnavailableError when the database cannot be asked.
        """
        return self._authenticator.accept(self._authenticator.lookup(raw_key).result())

    async def authenticate_async(self, raw_key: str) -> ApiKey:
        """Do as `authenticate`, without blocking the event loop."""
        looked_up = self._authenticator.lookup(raw_key)
        if not looked_up.done():
            # Others wait for the same future, so a caller that goes away must not cancel it.
            await asyncio.shield(asyncio.wrap_future(looked_up))
        return self._authenticator.accept(looked_up.result())

    def check_size(self, size: int) -> None:
        """Raise PayloadTooLargeError when a body of `size` bytes is more than is allowed."""
        if size > self.max_body_bytes:
            raise PayloadTooLargeError(self.max_body_bytes)

    def ingest(self, key: ApiKey, batch: RawBatch) -> int:
        """Validate and store a batch, whole or not at all; return the number of rows, durable by then.

        Raises ValidationFailedError; what is raised when it cannot be stored is a StorageError (see server.failures).
        """
        stored = threading.Lock()
        stored.acquire()
        submission = self._writer.submit(self._encode(key, batch), stored, _release)
        stored.acquire()
        return submission.rows_stored()

    def submit(self, key: ApiKey, batch: RawBatch) -> "Submission[asyncio.Future[None]]":
        """Do as `ingest`, but return at once, to be called on an event loop.

        The submission's waiter is done once the batch is stored or refused; `rows_stored` then tells.
        """
        waiter = asyncio.get_running_loop().create_future()
        return self._writer.submit(self._encode(key, batch), waiter, _finish)

    def _encode(self, key: ApiKey, batch: RawBatch) -> EncodedBatch:
        return encode_batch(key.project_id, validate_batch(batch, key.project_id, lenient=self.lenient))

    def check_ready(self) -> None:
        """Raise ServiceUnavailableError when a batch could not be stored now."""
        try:
            check_ready(self._pool)
        except StorageUnavailableError as error:
            raise ServiceUnavailableError from error

    def close(self) -> None:
        """Store what was accepted and release the database."""
        self._writer.close(self.CLOSE_TIMEOUT_S)
        self._authenticator.close(self.CLOSE_TIMEOUT_S)
        self._pool.close(self.CLOSE_TIMEOUT_S)


def _release(submissions: list[Submission[threading.Lock]]) -> None:
    for submission in submissions:
        submission.waiter.release()


def _finish(submissions: "list[Submission[asyncio.Future[None]]]") -> None:
    """Wake all that wait on one event loop by one call to it."""
    submissions[0].waiter.get_loop().call_soon_threadsafe(_set_done, submissions)


def _set_done(submissions: "list[Submission[asyncio.Future[None]]]") -> None:
    for submission in submissions:
        if not submission.waiter.done():
            submission.waiter.set_result(None)
