"""Tails: who follows rows as they arrive, and the one poll of the process that finds these rows for all of them."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from server.errors import ServiceUnavailableError
from storage.distribution.node_reader import NodeReader
from storage.errors import StorageUnavailableError
from storage.reading.arrivals import Arrival, Look, arrived_since, look
from storage.reading.filters import Filter
from storage.reading.reader import Reader
from storage.reading.rows import Row
from storage.reading.transaction import Transaction

MOST_TAILS: Final = 32
MOST_WAITING: Final = 4_000  # rows of a tail
MOST_AT_ONCE: Final = 100  # with the longest texts this is a message of 4 MiB, the most that gRPC clients take

_logger = logging.getLogger(__name__)


class Tail:
    """The rows that wait for one reader: the newest `most`, and how many were before these."""

    def __init__(self, rows: Filter, most: int = MOST_WAITING) -> None:
        self.filter = rows
        self.most = most
        self.has_begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: deque[Row] = deque()
        self._dropped = 0
        self._error: Exception | None = None
        self._has_news = asyncio.Event()

    def add(self, arrival: Arrival) -> None:
        """Take what arrived; when the reader is too slow, the oldest are dropped."""
        if arrival.found:
            self._waiting.extend(arrival.rows)
            self._dropped += arrival.found - len(arrival.rows)
            while len(self._waiting) > self.most:
                self._waiting.popleft()
                self._dropped += 1
            self._has_news.set()

    def end(self, error: Exception) -> None:
        """Have the reader get an error instead of further rows."""
        self._error = error
        self._has_news.set()
        if not self.has_begun.done():
            self.has_begun.set_exception(error)

    async def read(self, timeout_s: float) -> tuple[list[Row], int]:
        """Return the next rows and how many before them were dropped; no rows when none arrive within `timeout_s`.

        Raises what it was ended with.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_news.wait(), timeout_s)
        if self._error is not None:
            raise self._error
        rows = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
        dropped, self._dropped = self._dropped, 0
        if not self._waiting:
            self._has_news.clear()
        return rows, dropped


class Tails:
    """All tails of a process. Postgres is asked only while there are some, and once for all of them."""

    INTERVAL_S = 0.3

    def __init__(self, reader: Reader | NodeReader, project: int) -> None:
        """`reader` is for this only, so that no other query is waited for; it reads where rows of `project` are."""
        self._reader = reader
        self._project = project
        self._tails: list[Tail] = []
        self._is_joined = asyncio.Event()
        self._is_closed = False
        self._polling: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def following(self, rows: Filter, most: int) -> AsyncIterator[Tail]:
        """Follow rows: what is stored from the begin of this context on; at most so many of them wait.

        Raises ServiceUnavailableError.
        """
        if self._is_closed or len(self._tails) >= MOST_TAILS:
            raise ServiceUnavailableError
        tail = Tail(rows, most)
        self._tails.append(tail)
        self._is_joined.set()
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        try:
            await tail.has_begun
            yield tail
        finally:
            self._tails.remove(tail)

    def close(self) -> None:
        """End all tails, and let nobody begin another one."""
        self._is_closed = True
        self._end_all(ServiceUnavailableError())
        if self._polling is not None:
            self._polling.cancel()

    async def _poll(self) -> None:
        try:
            before: Look | None = None
            while self._tails:
                self._is_joined.clear()
                before = await self._look(before)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_joined.wait(), self.INTERVAL_S)
        except Exception as error:
            self._end_all(error)
        finally:
            self._polling = None

    async def _look(self, before: Look | None) -> Look | None:
        """Hand out what arrived since a look, and return the present one; the same when Postgres cannot be asked."""
        followed = [tail for tail in self._tails if tail.has_begun.done()]
        joining = [tail for tail in self._tails if not tail.has_begun.done()]
        # Tails of the same filter are found the same rows, once.
        wanted = list(dict.fromkeys((tail.filter, tail.most) for tail in followed))

        async def read(transaction: Transaction) -> tuple[Look, list[Arrival]]:
            seen = await look(transaction)
            if before is None or seen == before or not followed:
                return seen, []
            return seen, await arrived_since(transaction, before, wanted)

        try:
            seen, arrivals = await self._reader.read(read, self._project)
        except StorageUnavailableError as error:
            for tail in joining:
                tail.end(error)
            return before
        if before is not None and seen.next_transaction < before.next_transaction:
            _logger.warning("transactions have smaller numbers than before: rows are followed from now on")
        found = dict(zip(wanted, arrivals, strict=False))
        for tail in followed:
            if (arrival := found.get((tail.filter, tail.most))) is not None:
                tail.add(arrival)
        for tail in joining:
            if not tail.has_begun.done():
                tail.has_begun.set_result(None)
        return seen

    def _end_all(self, error: Exception) -> None:
        for tail in self._tails:
            tail.end(error)
