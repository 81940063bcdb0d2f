"""From raw API keys to projects, through a cache, so that a request seldom asks the database.

Every refusal takes the same path: hash, cache, and for a key of the right form that is not cached, one look-up. All
look-ups that wait are answered by one query at a time, so that invented keys load the database no more than one
client would. The cache of unknown keys is bounded, apart from that of known ones.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from server.errors import ForbiddenError, InvalidApiKeyError, ServiceUnavailableError
from storage.database import run
from storage.keys.api_keys import ApiKey, Scope, digest_of, is_well_formed, lookup_keys, touch_keys
from storage.keys.snapshot import KeySnapshot

_logger = logging.getLogger(__name__)


class _Cache:
    """Answers by digest, the oldest dropped first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, tuple[float, ApiKey | None]] = OrderedDict()

    def get(self, digest: bytes, oldest: float) -> tuple[float, ApiKey | None] | None:
        entry = self._entries.get(digest)
        return entry if entry is not None and entry[0] >= oldest else None

    def put(self, digest: bytes, key: ApiKey | None) -> None:
        self._entries[digest] = (time.monotonic(), key)
        self._entries.move_to_end(digest)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


class Authenticator:
    """Answers which project a raw key belongs to, and keeps the keys' `last_used_at`, on one event loop."""

    MAX_AGE_S = 5.0  # after which a key is looked up again
    STALE_S = 3.0  # for which it is taken meanwhile, so that keys in use never wait; a revoked one stops after both
    MAX_KNOWN = 10_000
    MAX_UNKNOWN = 10_000
    MAX_WAITING = 1_000
    TOUCH_INTERVAL_S = 30.0
    LOOKUP_TIMEOUT_S = 3.0
    RETRY_INTERVAL_S = 0.2
    PROBE_TIMEOUT_S = 0.5  # the pool tries to connect once for each request to it

    def __init__(self, pool: AsyncConnectionPool, copy: KeySnapshot | None, on_wait: Callable[[float], None]) -> None:
        """`copy`, if given, has the keys for while the database is down.

        `on_wait` gets the seconds that a caller waited for the database, whatever the answer.
        """
        self._pool = pool
        self._copy = copy
        self._on_wait = on_wait
        self._known = _Cache(self.MAX_KNOWN)
        self._unknown = _Cache(self.MAX_UNKNOWN)
        self._waiting: dict[bytes, asyncio.Future[ApiKey | None]] = {}
        self._is_wanted = asyncio.Event()
        self.is_down = False  # whether the last query for keys failed
        self._used: set[UUID] = set()
        self._tasks = [asyncio.create_task(self._answer_lookups()), asyncio.create_task(self._touch_regularly())]

    async def authenticate(self, raw_key: str, scope: Scope, origin: str | None = None) -> ApiKey:
        """Return the row of a key that may be used for `scope` now, and note its use.

        It waits for the database if the key is not cached.

        A key that is bound to origins may be used only with one of them as `origin`, the caller's Origin header.
        While the database is down, known keys are valid as they were last seen.
        Raises InvalidApiKeyError; ForbiddenError for a key to send when it is to read; ServiceUnavailableError when
        neither the database nor the copy has the key.
        """
        key = await self._find(digest_of(raw_key), is_possible=is_well_formed(raw_key))
        if key is None or not key.is_valid(datetime.now(UTC)) or not key.admits(origin):
            raise InvalidApiKeyError
        if key.scope != scope:
            raise ForbiddenError if scope is Scope.READ else InvalidApiKeyError
        self._used.add(key.id)
        return key

    async def authenticate_session(self, digest: bytes) -> ApiKey:
        """Return the row of the read key with which a session began, as `authenticate` does while it is valid.

        Raises InvalidApiKeyError and ServiceUnavailableError.
        """
        key = await self._find(digest, is_possible=True)
        if key is None or not key.is_valid(datetime.now(UTC)) or key.scope != Scope.READ:
            raise InvalidApiKeyError
        self._used.add(key.id)
        return key

    async def _find(self, digest: bytes, *, is_possible: bool) -> ApiKey | None:
        """Return the key of a digest, from the cache, or from the database if there can be one."""
        oldest = time.monotonic() - self.MAX_AGE_S
        entry = self._known.get(digest, oldest) or self._unknown.get(digest, oldest)
        if entry is None and not self.is_down:
            entry = self._known.get(digest, oldest - self.STALE_S)
            if entry is not None:
                with suppress(ServiceUnavailableError):
                    self._ask_for(digest)
        if entry is not None:
            return entry[1]
        if not is_possible:
            return None
        if self.is_down:
            return self._recall(digest)
        return await self._lookup(digest)

    async def close(self) -> None:
        """Stop, and store which keys were used, if that can be done now."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if not self.is_down:
            await self._touch()

    def _ask_for(self, digest: bytes) -> "asyncio.Future[ApiKey | None]":
        """Return the future answer of a look-up, which is in progress or begins now. Raises ServiceUnavailableError."""
        future = self._waiting.get(digest)
        if future is None:
            if len(self._waiting) >= self.MAX_WAITING:
                raise ServiceUnavailableError
            future = self._waiting[digest] = asyncio.get_running_loop().create_future()
            self._is_wanted.set()
        return future

    async def _lookup(self, digest: bytes) -> ApiKey | None:
        future = self._ask_for(digest)
        began_at = time.monotonic()
        try:
            # Others wait for the same future, so a caller that is cancelled must not cancel it.
            return await asyncio.shield(future)
        finally:
            self._on_wait(time.monotonic() - began_at)

    def _recall(self, digest: bytes) -> ApiKey:
        """Return a key as it was when the database could last be asked. Raises ServiceUnavailableError."""
        entry = self._known.get(digest, 0.0)
        key = entry[1] if entry is not None else None
        if key is None and self._copy is not None:
            key = self._copy.find(digest)
        if key is None:
            raise ServiceUnavailableError
        return key

    async def _answer_lookups(self) -> None:
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            digests = list(self._waiting)
            try:
                found = await self._ask(digests, self.LOOKUP_TIMEOUT_S)
            except Exception as error:
                _logger.warning("API keys cannot be looked up: %s", error)
                self.is_down = True
                self._answer_without_database()
                await self._probe_until_up()
                continue
            for digest in digests:
                key = found.get(digest)
                (self._known if key is not None else self._unknown).put(digest, key)
                self._waiting.pop(digest).set_result(key)

    def _answer_without_database(self) -> None:
        while self._waiting:
            digest, future = self._waiting.popitem()
            try:
                future.set_result(self._recall(digest))
            except ServiceUnavailableError as error:
                future.set_exception(error)
                future.exception()  # nobody may be waiting any more

    async def _probe_until_up(self) -> None:
        while self.is_down:
            await asyncio.sleep(self.RETRY_INTERVAL_S)
            with suppress(psycopg.Error):
                await self._ask([], self.PROBE_TIMEOUT_S)
                self.is_down = False

    async def _ask(self, digests: Collection[bytes], timeout_s: float) -> dict[bytes, ApiKey]:
        return await run(self._pool, partial(lookup_keys, digests=digests), timeout_s)

    async def _touch_regularly(self) -> None:
        while True:
            await asyncio.sleep(self.TOUCH_INTERVAL_S)
            await self._touch()

    async def _touch(self) -> None:
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await run(self._pool, partial(touch_keys, key_ids=used), self.LOOKUP_TIMEOUT_S)
        except psycopg.Error as error:
            _logger.warning("last_used_at of %d keys cannot be stored: %s", len(used), error)
            self._used |= used
