"""From raw API keys to projects, through a cache, so that a request seldom asks the database.

Every refusal takes the same way: hash, cache, and for a key of the right form that is not cached, one look-up. All
look-ups that wait are answered by one query at a time, so that invented keys load the database no more than one
client would; and what they leave in memory is bounded, apart from the keys that are known.
"""

import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from psycopg_pool import ConnectionPool

from server.errors import InvalidApiKeyError, ServiceUnavailableError
from storage.api_keys import ApiKey, digest_of, is_well_formed, lookup_keys, touch_keys
from storage.database import run

_logger = logging.getLogger(__name__)


class _Cache:
    """Finished look-ups by digest, the oldest dropped first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, tuple[float, Future[ApiKey | None]]] = OrderedDict()

    def get(self, digest: bytes, oldest: float) -> "Future[ApiKey | None] | None":
        entry = self._entries.get(digest)
        return entry[1] if entry is not None and entry[0] >= oldest else None

    def put(self, digest: bytes, future: "Future[ApiKey | None]") -> None:
        self._entries[digest] = (time.monotonic(), future)
        self._entries.move_to_end(digest)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


class Authenticator:
    """Answers which project a raw key belongs to, and keeps the keys' `last_used_at`."""

    MAX_AGE_S = 5.0  # a revoked key stops within this time
    MAX_KNOWN = 10_000
    MAX_UNKNOWN = 10_000
    MAX_WAITING = 1_000
    TOUCH_INTERVAL_S = 30.0
    LOOKUP_TIMEOUT_S = 3.0

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._known = _Cache(self.MAX_KNOWN)
        self._unknown = _Cache(self.MAX_UNKNOWN)
        self._nobody: Future[ApiKey | None] = Future()
        self._nobody.set_result(None)
        self._waiting: dict[bytes, Future[ApiKey | None]] = {}
        self._used: set[UUID] = set()
        self._touched_at = time.monotonic()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="authenticator", daemon=True)
        self._thread.start()

    def lookup(self, raw_key: str) -> "Future[ApiKey | None]":
        """Return a future of the key's row, None for no such key; it is done already when the answer is cached.

        The future is shared: do not cancel it. It raises ServiceUnavailableError when the database cannot be asked.
        """
        digest = digest_of(raw_key)
        oldest = time.monotonic() - self.MAX_AGE_S
        future = self._known.get(digest, oldest) or self._unknown.get(digest, oldest)
        if future is not None:
            return future
        if not is_well_formed(raw_key):
            return self._nobody
        with self._changed:
            future = self._waiting.get(digest)
            if future is None:
                if len(self._waiting) >= self.MAX_WAITING:
                    raise ServiceUnavailableError
                future = self._waiting[digest] = Future()
                self._changed.notify()
        return future

    def accept(self, key: ApiKey | None) -> ApiKey:
        """Return the key when it may be used now, and note its use. Raises InvalidApiKeyError."""
        if key is None or not key.is_valid(datetime.now(UTC)):
            raise InvalidApiKeyError
        self._used.add(key.id)
        return key

    def close(self, timeout_s: float) -> None:
        """Store which keys were used, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed, timeout=self.TOUCH_INTERVAL_S)
                waiting = dict(self._waiting)
            if waiting:
                self._answer(waiting)
            if time.monotonic() - self._touched_at >= self.TOUCH_INTERVAL_S:
                self._touch()
        self._touch()

    def _answer(self, waiting: "dict[bytes, Future[ApiKey | None]]") -> None:
        try:
            found = run(self._pool, lambda connection: lookup_keys(connection, waiting), self.LOOKUP_TIMEOUT_S)
        except psycopg.Error as error:
            _logger.warning("API keys cannot be looked up: %s", error)
            with self._changed:
                for digest in waiting:
                    del self._waiting[digest]
            for future in waiting.values():
                future.set_exception(ServiceUnavailableError())
            return
        with self._changed:
            for digest, future in waiting.items():
                del self._waiting[digest]
                (self._known if digest in found else self._unknown).put(digest, future)
        for digest, future in waiting.items():
            future.set_result(found.get(digest))

    def _touch(self) -> None:
        self._touched_at = time.monotonic()
        used, self._used = self._used, set()
        if not used:
            return
        try:
            run(self._pool, lambda connection: touch_keys(connection, used), self.LOOKUP_TIMEOUT_S)
        except psycopg.Error as error:
            _logger.warning("last_used_at of %d keys cannot be stored: %s", len(used), error)
            self._used |= used
