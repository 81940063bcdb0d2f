"""What becomes of batches whose flush failed.

Those that Postgres refuses are told from their neighbours. While Postgres is away, batches go to the spool; without
one they are tried again for a while, and then fail.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import psycopg

from storage.errors import BatchRefusedError, IdempotencyKeyReusedError, StorageError, StorageUnavailableError
from storage.spool.spool import Spool
from storage.writing.copier import Copier
from storage.writing.flush_report import FlushReport
from storage.writing.row_encoding import claims_data, copy_data
from storage.writing.submission import Submission

_logger = logging.getLogger(__name__)

Settle = Callable[[Submission, StorageError | None], None]
FindBodies = Callable[[Collection[bytes]], Awaitable[Mapping[bytes, bytes]]]


class FlushRecovery:
    """Finds a place for batches whose first flush failed, on one event loop."""

    PATIENCE_S = 5.0  # how long batches are tried again when there is no spool
    RETRY_INTERVAL_S = 0.1
    PROBE_INTERVAL_S = 0.5  # between two tries to reach a database that is away
    # A database that can be reached may fail all the same, for want of disk space perhaps: when it is away again this
    # soon, it is let alone for a time, which doubles up to the longest.
    RELAPSE_S = 10.0
    LONGEST_PAUSE_S = 5.0

    def __init__(
        self,
        copier: Copier,
        spool: Spool | None,
        max_bytes: int,
        settle: Settle,
        on_flush: Callable[[FlushReport], None],
        find_bodies: FindBodies | None,
    ) -> None:
        """Write COPYs of at most `max_bytes`; `settle` is called with what became of each batch.

        For batches with claims, `find_bodies` tells which claims are stored.
        """
        self._on_flush = on_flush
        self._copier = copier
        self._spool = spool
        self._max_bytes = max_bytes
        self._settle = settle
        self._find_bodies = find_bodies
        self._one_at_a_time = asyncio.Lock()
        self._queue: deque[Submission] = deque()
        self._doubtful: deque[tuple[Sequence[Submission], int]] = deque()
        self._work: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[None] | None = None
        # Whether the database could not be used when it was last tried.
        self.is_away = False
        self._away_since = 0.0
        self._returned_at = -self.RELAPSE_S
        self._pause_s = 0.0
        self._is_spool_usable = True

    def take(self, submissions: Iterable[Submission]) -> None:
        """Take batches over that Postgres does not have: it refused one of them, or is away."""
        self._queue.extend(submissions)
        self._go_on()

    def take_unanswered(self, submissions: Sequence[Submission], backend_pid: int, error: psycopg.Error) -> None:
        """Take batches over whose flush ended with an OperationalError; a backend, if given, may have stored them."""
        self._go_away(error)
        if backend_pid:
            self._doubtful.append((submissions, backend_pid))
            self._go_on()
        else:
            self.take(submissions)

    async def close(self) -> None:
        """Stop; whatever is left has failed."""
        tasks = [task for task in (self._work, self._probe) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._fail(self._queue)
        self._copier.close()

    def _go_on(self) -> None:
        if self._work is None and (self._queue or self._doubtful):
            self._work = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._queue or self._doubtful:
            lot, backend_pid = self._doubtful.popleft() if self._doubtful else (self._next(), 0)
            try:
                if backend_pid:
                    await self._put_by(lot, backend_pid)
                else:
                    await self._store(lot)
            except Exception:
                # A recovery that ends would leave its batches waiting for ever.
                _logger.exception("%d batches could not be written", len(lot))
                self._fail(lot)
        self._work = None

    def _next(self) -> list[Submission]:
        """Return what fits one COPY, at least one batch."""
        lot = [self._queue.popleft()]
        room = self._max_bytes - len(lot[0].batch.data)
        while self._queue and len(self._queue[0].batch.data) <= room:
            lot.append(self._queue.popleft())
            room -= len(lot[-1].batch.data)
        return lot

    async def _store(self, lot: Sequence[Submission]) -> None:
        """Write batches together, or each alone when Postgres refuses one of them."""
        is_rerouted = False
        while wanted := self._without_withdrawn(lot):
            if self.is_away and self._spool is not None:
                await self._put_by(wanted, 0)
                return
            began_at = time.monotonic()
            error = await self._copy(wanted)
            rows = sum(submission.batch.rows for submission in wanted)
            size_bytes = sum(len(submission.batch.data) for submission in wanted)
            self._on_flush(FlushReport(rows, size_bytes, time.monotonic() - began_at, error is None))
            if isinstance(error, psycopg.errors.UniqueViolation) and self._find_bodies is not None:
                lot, error = await self._set_repeats_aside(wanted, error, self._find_bodies)
                if error is None:
                    continue
            if isinstance(error, psycopg.OperationalError):
                self._go_away(error)
                is_in_doubt = self._copier.is_in_doubt and self._find_bodies is None
                backend_pid = self._copier.backend_pid if is_in_doubt else 0
                if backend_pid or self._spool is not None or time.monotonic() > self._away_since + self.PATIENCE_S:
                    await self._put_by(wanted, backend_pid)
                    return
                await asyncio.sleep(self.RETRY_INTERVAL_S)
                continue
            self.is_away = False
            if isinstance(error, psycopg.errors.CheckViolation) and not is_rerouted:
                # The row's day got its own partition while this waited for the default one, and is there next time.
                is_rerouted = True
                continue
            if error is not None and len(wanted) > 1:
                for submission in wanted:
                    await self._store([submission])
                return
            # The error's full text quotes values of the rows.
            reason = BatchRefusedError(f"Postgres refused: {error.diag.message_primary}") if error is not None else None
            for submission in wanted:
                self._settle(submission, reason)
            return

    async def _set_repeats_aside(
        self, lot: Sequence[Submission], error: psycopg.Error, find_bodies: FindBodies
    ) -> tuple[Sequence[Submission], psycopg.Error | None]:
        """Settle batches whose claims are stored, and put off those whose claims stand before them in the lot.

        Returns the others, or all with the error when that was not what it meant or the database cannot be asked.
        """
        claims = [(submission, submission.batch.claim) for submission in lot if submission.batch.claim is not None]
        try:
            bodies = await find_bodies([claim.id for _, claim in claims])
        except psycopg.Error as failure:
            return lot, psycopg.OperationalError(str(failure))
        remaining: dict[bytes, Submission] = {}
        for submission, claim in claims:
            body = bodies.get(claim.id)
            if body is not None:
                self._settle(submission, None if body == claim.body else IdempotencyKeyReusedError())
            elif remaining.setdefault(claim.id, submission) is not submission:
                self._queue.append(submission)
        return list(remaining.values()), error if len(remaining) == len(lot) else None

    def _without_withdrawn(self, lot: Sequence[Submission]) -> list[Submission]:
        for submission in lot:
            if submission.is_withdrawn:
                self._settle(submission, None)
        return [submission for submission in lot if not submission.is_settled]

    async def _copy(self, lot: Sequence[Submission]) -> psycopg.Error | None:
        ended: asyncio.Future[psycopg.Error | None] = asyncio.get_running_loop().create_future()

        def fill() -> None:
            batches = [submission.batch for submission in lot]
            self._copier.add(copy_data(batch.data for batch in batches))
            self._copier.end(claims_data(batches) if self._find_bodies is not None else None)

        def end(error: psycopg.Error | None) -> None:
            if not ended.done():  # it is when recovery was stopped
                ended.set_result(error)

        async with self._one_at_a_time:
            self._copier.begin(fill, end)
            return await ended

    async def _put_by(self, lot: Sequence[Submission], backend_pid: int) -> None:
        """Spool batches that a backend may have stored, if `backend_pid` is one; without a spool they have failed."""
        error: StorageError | None = StorageUnavailableError("the database is not available")
        if self._spool is not None:
            batches = [submission.batch for submission in lot]
            try:
                reused = await asyncio.to_thread(self._spool.append, batches, in_doubt=backend_pid)
                for position in reused:
                    self._settle(lot[position], IdempotencyKeyReusedError())
                error = None
                self._is_spool_usable = True
            except StorageUnavailableError as failure:
                if self._is_spool_usable:
                    _logger.error("batches are refused, as they cannot be kept: %s", failure)
                self._is_spool_usable = False
                error = failure
        for submission in lot:
            self._settle(submission, error)

    def _go_away(self, error: psycopg.Error) -> None:
        """Note that the database is away, and look for it from time to time."""
        if not self.is_away:
            _logger.warning("the database cannot be used: %s", str(error).splitlines()[0])
            self.is_away = True
            self._away_since = time.monotonic()
            if self._spool is not None:
                self._probe = asyncio.get_running_loop().create_task(self._await_return())

    async def _await_return(self) -> None:
        has_relapsed = time.monotonic() < self._returned_at + self.RELAPSE_S
        self._pause_s = min(2 * self._pause_s + self.RETRY_INTERVAL_S, self.LONGEST_PAUSE_S) if has_relapsed else 0.0
        await asyncio.sleep(self._pause_s)
        # A COPY of no rows tells what a connection alone does not: read-only, locked, without the table.
        while await self._copy([]) is not None:
            await asyncio.sleep(self.PROBE_INTERVAL_S)
        self.is_away = False
        self._returned_at = time.monotonic()
        _logger.warning("the database can be used again")

    def _fail(self, submissions: Iterable[Submission]) -> None:
        for submission in submissions:
            self._settle(submission, StorageUnavailableError("the database is not available"))
