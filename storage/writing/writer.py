"""The event writer: batches of many callers go in, a few large COPY commands come out.

One COPY is filled with the batches that come in while the one before it commits: a lone batch is committed at once,
and under load flushes grow by themselves. All of it happens on one event loop, since waking another thread costs more
than a row does. What needs more than that takes the slow path (slow_path.py).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, islice

import psycopg
from psycopg_pool import AsyncConnectionPool

from storage.errors import StorageError, StorageUnavailableError, WriterOverloadedError
from storage.spool.spool import Spool
from storage.writing.copier import Copier, ShardElsewhereError
from storage.writing.database_health import DatabaseHealth
from storage.writing.destination import Database, Target
from storage.writing.flush import Flush
from storage.writing.flush_report import FlushReport, ignore_report
from storage.writing.row_encoding import COPY_HEADER, EncodedBatch
from storage.writing.slow_path import SlowPath
from storage.writing.submission import Submission

MOST_TARGETS = 64  # of a flush, each of which is a COPY

_logger = logging.getLogger(__name__)


class EventWriter:
    """Writes batches into their tables, on the event loop that it was made on."""

    CONNECTIONS = 2  # one fills a COPY while the other commits
    MAX_CONNECTIONS = CONNECTIONS + 1  # one more for the slow path
    MAX_FLUSH_BYTES = 4 * 2**20
    MAX_FLUSH_AGE_S = 0.005  # after which a COPY is not filled further, however many batches are coming in
    RETURN_S = 0.001  # but clients that were just answered are given so long to send again
    # A COPY waits no longer for the commit before it: that one may wait for a transaction that needs this one's locks.
    MAX_WAIT_S = 0.05
    MAX_PENDING_BYTES = 32 * 2**20  # of batches that are taken and not settled
    POLL_INTERVAL_S = 0.01

    def __init__(
        self,
        database: Database,
        *,
        name: str,
        pool: AsyncConnectionPool,
        spool: Spool | None = None,
        on_flush: Callable[[FlushReport], None] = ignore_report,
        on_elsewhere: Callable[[Sequence[Submission]], None] | None = None,
    ) -> None:
        """`name` shows in the database's list of connections; `spool` takes batches while the database is down.

        `pool` is for queries about what is stored. `on_elsewhere` gets batches that another database is to store.
        """
        self._database = database
        self._on_flush = on_flush
        self._on_elsewhere = on_elsewhere
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Submission] = deque()
        self._pending_bytes = 0
        self._unsettled: set[Submission] = set()
        self._is_closed = False
        base = database.transaction_base
        self._copiers = [Copier(database.url, name=name, transaction_base=base) for _ in range(self.CONNECTIONS)]
        self._filling: Flush | None = None
        self._committing: set[Flush] = set()
        self._expected = 0  # how many batches a flush is likely to get before long
        self._last_targets: tuple[Target, ...] = ()  # of the last flush: more batches for these will come
        slow_copier = Copier(database.url, name=name, transaction_base=base)
        self._slow_path = SlowPath(
            slow_copier, database, pool, spool, self.MAX_FLUSH_BYTES, self._settle, self._hand_back, on_flush
        )
        self._polled = (*self._copiers, slow_copier)

    @property
    def health(self) -> DatabaseHealth:
        """Whether the database can be used."""
        return self._slow_path.health

    async def start(self) -> None:
        """Do nothing: the first batch opens a connection."""

    @property
    def is_dependable(self) -> bool:
        """Tell whether rows are likely to be stored now."""
        return self.health.is_dependable

    @property
    def pending_batches(self) -> int:
        """Batches that are taken and not settled."""
        return len(self._unsettled)

    @property
    def pending_bytes(self) -> int:
        """Bytes of the batches that are taken and not settled."""
        return self._pending_bytes

    @property
    def open_connections(self) -> int:
        """Connections to the database that are open now."""
        return sum(copier.is_connected for copier in self._polled)

    def submit(self, batch: EncodedBatch) -> Submission:
        """Begin to write a batch; the submission tells when it is durable.

        Raises WriterOverloadedError when too much is under way, or when closed.
        """
        if self._is_closed:
            raise WriterOverloadedError("the server is shutting down")
        if self._pending_bytes + len(batch.data) > self.MAX_PENDING_BYTES:
            raise WriterOverloadedError("the write queue is full")
        submission = Submission(batch, self._loop.create_future())
        self.take(submission)
        return submission

    def take(self, submission: Submission) -> None:
        """Begin to write what `submit` would return, or another writer has handed back."""
        batch = submission.batch
        submission.target = self._database.target_of(batch)
        self._pending_bytes += len(batch.data)
        self._unsettled.add(submission)
        for copier in self._polled:
            copier.poll()
        if batch.claim is None:
            self._queue.append(submission)
            self._fill()
        else:
            self._slow_path.take([submission])

    def take_to_spool(self, submission: Submission) -> None:
        """Have the spool take a batch that nobody stores now; without one, it fails."""
        self._pending_bytes += len(submission.batch.data)
        self._unsettled.add(submission)
        self._slow_path.take_to_spool([submission])

    async def close(self, timeout_s: float) -> None:
        """Take no more batches, and wait up to `timeout_s` until those that were taken are settled; fail the rest."""
        self._is_closed = True
        deadline = time.monotonic() + timeout_s
        while self._pending_bytes and time.monotonic() < deadline:
            await asyncio.sleep(self.POLL_INTERVAL_S)
        for copier in self._copiers:
            copier.close()
        await self._slow_path.close()
        for submission in list(self._unsettled):
            self._settle(submission, StorageUnavailableError("the server is shutting down"))

    def _fill(self) -> None:
        """Move what is queued into the COPY that is being filled, or to the slow path while the database is down."""
        if self.health.is_down:
            self._slow_path.take(self._queue)
            self._queue.clear()
        if not self._queue:
            return
        flush = self._filling or self._begin()
        if flush is None or not flush.copier.is_filling:
            return
        for_next: list[Submission] = []
        while self._queue and flush.size_bytes < self.MAX_FLUSH_BYTES:
            submission = self._queue.popleft()
            if submission.is_withdrawn:
                self._settle(submission, None)
            elif not flush.add(submission):
                for_next.append(submission)
        self._queue.extendleft(reversed(for_next))
        self._check_soon(flush)

    def _begin(self) -> Flush | None:
        copier = next((copier for copier in self._copiers if copier.is_idle), None)
        if copier is None:
            return None
        queued = (submission.target for submission in self._queue if submission.target is not None)
        targets = tuple(islice(dict.fromkeys(chain(queued, self._last_targets)), MOST_TARGETS))
        flush = self._filling = Flush(copier, targets, self.MAX_FLUSH_AGE_S)
        statement = self._database.statement(targets)
        copier.begin(statement, partial(self._on_ready, flush), partial(self._on_end, flush))
        return flush

    def _on_ready(self, flush: Flush) -> None:
        flush.copier.add(COPY_HEADER)
        self._fill()
        self._check_soon(flush)

    def _check_soon(self, flush: Flush) -> None:
        """Decide whether to commit after this turn of the event loop, which may bring more batches."""
        if not flush.is_check_due:
            flush.is_check_due = True
            self._loop.call_soon(self._check, flush)

    def _check_at(self, flush: Flush, age_s: float) -> None:
        if age_s not in flush.timed_ages_s:
            flush.timed_ages_s.add(age_s)
            self._loop.call_later(age_s - flush.age_s, self._on_age, flush, age_s)

    def _on_age(self, flush: Flush, age_s: float) -> None:
        # The clock may not say so yet: an event loop counts from when its turn began, in whole milliseconds.
        flush.least_age_s = age_s
        self._check_soon(flush)

    def _check(self, flush: Flush) -> None:
        flush.is_check_due = False
        if flush is not self._filling or not flush.copier.is_filling:
            return
        age_s = flush.age_s
        if self._committing and age_s < self.MAX_WAIT_S:
            self._check_at(flush, self.MAX_WAIT_S)
            return
        if flush.size_bytes < self.MAX_FLUSH_BYTES and age_s < flush.max_age_s:
            if len(flush.submissions) > flush.seen:
                flush.seen = len(flush.submissions)
                self._check_soon(flush)
                return
            if len(flush.submissions) < self._expected:
                self._check_at(flush, flush.max_age_s)
                return
        self._filling = None
        self._committing.add(flush)
        self._last_targets = (flush.target, *(target for target, rows in flush.others.items() if rows))
        flush.end()
        self._fill()

    def _on_end(self, flush: Flush, error: psycopg.Error | None) -> None:
        self._committing.discard(flush)
        if self._filling is flush:
            self._filling = None
        self._on_flush(flush.report(is_stored=error is None))
        if error is None:
            for submission in flush.submissions:
                self._settle(submission, None)
        elif isinstance(error, ShardElsewhereError) and self._on_elsewhere is not None:
            self._last_targets = ()
            self._hand_back([*flush.submissions, *self._queue])
            self._queue.clear()
        else:
            self._slow_path.take_failed(flush.target, flush.submissions, error)
        self._fill()
        following = self._filling
        # Clients that were answered now may send again at once; with a lone client there is nothing to wait for.
        self._expected = len(flush.submissions) + (len(following.submissions) if following else 0)
        if following is not None:
            following.max_age_s = max(following.max_age_s, following.age_s + self.RETURN_S)
            self._check_soon(following)

    def _settle(self, submission: Submission, error: StorageError | None) -> None:
        if not submission.is_settled:
            self._pending_bytes -= len(submission.batch.data)
            self._unsettled.discard(submission)
            submission.settle(error)

    def _hand_back(self, submissions: Sequence[Submission]) -> bool:
        """Give batches to whoever knows another database for them, and tell whether there is one."""
        if self._on_elsewhere is None:
            return False
        for submission in submissions:
            self._pending_bytes -= len(submission.batch.data)
            self._unsettled.discard(submission)
        self._on_elsewhere(submissions)
        return True
