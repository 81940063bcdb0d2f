"""The ingest service: what happens to a request, whichever protocol it came by.

The order is the contract's: authenticate, limit the size, decode (the protocol's part), validate, store.
"""

import asyncio
from concurrent.futures import Future

from psycopg_pool import ConnectionPool

from server.authentication import Authenticator
from server.batch import RawBatch
from server.errors import PayloadTooLargeError, ServiceUnavailableError
from server.settings import Contract, Settings
from server.validation import validate_batch
from storage.api_keys import ApiKey
from storage.database import check_ready, open_pool
from storage.errors import StorageUnavailableError
from storage.http_requests import encode_batch
from storage.writer import EventWriter


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

    def submit(self, key: ApiKey, batch: RawBatch) -> "Future[int]":
        """Validate a batch and queue it for storing, whole or not at all.

        The future gives the number of rows once they are durable. Raises ValidationFailedError; what the writer
        raises, and what its future raises, are StorageErrors (see server.failures).
        """
        columns = validate_batch(batch, key.project_id, lenient=self.lenient)
        return self._writer.submit(encode_batch(key.project_id, columns))

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
