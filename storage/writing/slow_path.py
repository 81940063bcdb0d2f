"""The slow path: one COPY after the other, for batches that need more than to be added to a flush.

These are batches with an idempotency key, since first it must be known whether the key is stored; those of a flush that
failed, where refused batches are separated from the others and a commit without answer is looked up; and all batches
while the database is down: they go to the spool, or without one they are retried for a while, and fail.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool

from storage.database import run
from storage.errors import BatchRefusedError, IdempotencyKeyReusedError, StorageError, StorageUnavailableError
from storage.spool.spool import Spool
from storage.writing.batch_copy import copy_batches, copy_nothing
from storage.writing.claims import find_bodies
from storage.writing.commit_lookup import UncertainBatch, find_stored
from storage.writing.copier import CommitUnknownError, Copier, ShardElsewhereError
from storage.writing.database_health import DatabaseHealth
from storage.writing.destination import Database, Target
from storage.writing.flush_report import FlushReport
from storage.writing.submission import Submission

Result = TypeVar("Result")
Settle = Callable[[Submission, StorageError | None], None]

_logger = logging.getLogger(__name__)


class SlowPath:
    """Stores batches, one lot (what fits one COPY) after the other, on one event loop."""

    RETRY_FOR_S = 5.0  # how long a database that is down is tried again when there is no spool
    RETRY_INTERVAL_S = 0.1
    LOOKUP_TIMEOUT_S = 3.0

    def __init__(
        self,
        copier: Copier,
        database: Database,
        pool: AsyncConnectionPool,
        spool: Spool | None,
        max_bytes: int,
        settle: Settle,
        hand_back: Callable[[Sequence[Submission]], bool],
        on_flush: Callable[[FlushReport], None],
    ) -> None:
        """Write COPYs of at most `max_bytes`; `settle` is called with what became of each batch.

        `hand_back` may take batches that another database is to store.
        """
        self._copier = copier
        self._database = database
        self._hand_back = hand_back
        self._pool = pool
        self._spool = spool
        self._max_bytes = max_bytes
        self._settle = settle
        self._on_flush = on_flush
        self._copying = asyncio.Lock()
        self._queue: deque[Submission] = deque()
        self._uncertain: deque[tuple[Sequence[Submission], int]] = deque()
        self._unwanted: list[Submission] = []
        self._work: asyncio.Task[None] | None = None
        self.health = DatabaseHealth(self._probe if spool is not None else None)
        self._failed_target: Target | None = None  # which batches had that could not be stored
        self._is_spool_usable = True

    def take(self, submissions: Iterable[Submission]) -> None:
        """Take batches over that Postgres does not have."""
        self._queue.extend(submissions)
        self._start()

    def take_to_spool(self, submissions: Sequence[Submission]) -> None:
        """Take batches over that are not to be tried."""
        self._unwanted.extend(submissions)
        self._start()

    def take_failed(self, target: Target, submissions: Sequence[Submission], error: psycopg.Error) -> None:
        """Take over the batches, if any, of a flush that ended with an error."""
        if isinstance(error, psycopg.OperationalError):
            self._mark_down(target, error)
        if isinstance(error, CommitUnknownError):
            self._uncertain.append((submissions, error.transaction_id))
            self._start()
        else:
            self.take(submissions)

    async def close(self) -> None:
        """Stop; whatever is left has failed."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        await self.health.close()
        self._fail(self._queue)
        self._copier.close()

    def _start(self) -> None:
        if self._work is None and (self._queue or self._uncertain or self._unwanted):
            self._work = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._queue or self._uncertain or self._unwanted:
            if self._unwanted:
                unwanted, self._unwanted = self._unwanted, []
                await self._keep(unwanted)
                continue
            lot, transaction_id = self._uncertain.popleft() if self._uncertain else (self._next_lot(), 0)
            try:
                await self._store(lot, transaction_id)
            except Exception:
                # Their callers would wait for ever otherwise.
                _logger.exception("%d batches could not be written", len(lot))
                self._fail(lot)
        self._work = None

    def _next_lot(self) -> list[Submission]:
        """Return what fits one COPY, at least one batch, all of one target."""
        lot = [self._queue.popleft()]
        target, room = lot[0].target, self._max_bytes - len(lot[0].batch.data)
        while self._queue:
            following = self._queue[0]
            if following.target is not target or len(following.batch.data) > room:
                break
            lot.append(self._queue.popleft())
            room -= len(following.batch.data)
        return lot

    async def _store(self, lot: Sequence[Submission], transaction_id: int = 0) -> None:
        """Settle batches, which a transaction may have stored if `transaction_id` is given.

        They are written together, or each alone when Postgres refuses one of them.
        """
        is_second_try = False
        while lot := self._without_withdrawn(lot):
            if self.health.is_down and self._spool is not None:
                await self._append_to_spool(lot, self._spool, transaction_id)
                return
            try:
                lot = await self._without_stored(lot, transaction_id)
                transaction_id = 0
                lot = await self._without_repeats(lot)
                await self._copy(lot)
            except psycopg.OperationalError as error:
                if isinstance(error, ShardElsewhereError) and self._hand_back(lot):
                    return
                self._mark_down(_target_of(lot), error)
                if isinstance(error, CommitUnknownError):
                    transaction_id = error.transaction_id
                if self._spool is None and self.health.down_for_s > self.RETRY_FOR_S:
                    self._fail(lot)
                elif self._spool is None:
                    await asyncio.sleep(self.RETRY_INTERVAL_S)
            except psycopg.Error as error:
                is_second_try = await self._sort_out(lot, error, is_second_try=is_second_try)
            else:
                self._settle_all(lot, None)

    async def _sort_out(self, lot: Sequence[Submission], error: psycopg.Error, *, is_second_try: bool) -> bool:
        """Find out which batch Postgres refuses; return True if all are to be tried a second time first."""
        # A row's day got its own partition while this waited for the default one; another server stored a key.
        if isinstance(error, psycopg.errors.CheckViolation | psycopg.errors.UniqueViolation) and not is_second_try:
            return True
        if len(lot) > 1:
            for submission in lot:
                await self._store([submission])
        else:
            # The error's full text quotes values of the rows.
            self._settle_all(lot, BatchRefusedError(f"Postgres refused: {error.diag.message_primary}"))
        return False

    def _without_withdrawn(self, lot: Sequence[Submission]) -> list[Submission]:
        for submission in lot:
            if submission.is_withdrawn:
                self._settle(submission, None)
        return [submission for submission in lot if not submission.is_settled]

    async def _without_stored(self, lot: Sequence[Submission], transaction_id: int) -> Sequence[Submission]:
        """Settle batches that the transaction has stored, and return the others. Raises OperationalError."""
        if transaction_id:
            batches = [UncertainBatch(submission.batch, transaction_id) for submission in lot]
            stored = await self._look_up(partial(find_stored, batches=batches))
            self._settle_all([lot[position] for position in stored], None)
        return [submission for submission in lot if not submission.is_settled]

    async def _without_repeats(self, lot: Sequence[Submission]) -> Sequence[Submission]:
        """Settle batches whose keys are stored, requeue those whose keys come twice in the lot, and return the others.

        Raises OperationalError.
        """
        ids = [submission.batch.claim.id for submission in lot if submission.batch.claim is not None]
        if not ids:
            return lot
        bodies = await self._look_up(partial(find_bodies, ids=ids, table=_target_of(lot).claims_table))
        remaining: list[Submission] = []
        seen: set[bytes] = set()
        for submission in lot:
            claim = submission.batch.claim
            if claim is None:
                remaining.append(submission)
            elif claim.id in bodies:
                is_same = bodies[claim.id] == claim.body
                self._settle(submission, None if is_same else IdempotencyKeyReusedError())
            elif claim.id in seen:
                self._queue.append(submission)
            else:
                seen.add(claim.id)
                remaining.append(submission)
        return remaining

    async def _look_up(self, query: "Callable[[psycopg.AsyncConnection], Awaitable[Result]]") -> "Result":
        try:
            return await run(self._pool, query, self.LOOKUP_TIMEOUT_S)
        except psycopg.Error as error:
            raise psycopg.OperationalError(str(error)) from error

    async def _copy(self, lot: Sequence[Submission]) -> None:
        """Store batches in one transaction. Raises psycopg.Error."""
        if not lot:
            return
        batches = [submission.batch for submission in lot]
        rows, size_bytes = sum(batch.rows for batch in batches), sum(len(batch.data) for batch in batches)
        began_at = time.monotonic()
        error: psycopg.Error | None = None
        try:
            async with self._copying:
                await copy_batches(self._copier, self._database, batches)
        except psycopg.Error as failure:
            error = failure
        duration_s = time.monotonic() - began_at
        self._on_flush(FlushReport(rows, size_bytes, duration_s, error is None, self._copier.transaction_id, lot))
        if self._spool is None and not isinstance(error, psycopg.OperationalError):
            self.health.mark_up()
        if error is not None:
            raise error

    def _mark_down(self, target: Target, error: psycopg.Error) -> None:
        self._failed_target = target
        self.health.mark_down(error)

    async def _probe(self) -> bool:
        """Try a COPY of no rows: a connection alone does not tell that the database is read-only or locked."""
        assert self._failed_target is not None  # noqa: S101 - something failed before the database is probed
        try:
            async with self._copying:
                await copy_nothing(self._copier, self._database, self._failed_target)
        except ShardElsewhereError:
            return True  # what comes next is handed back
        except psycopg.Error:
            return False
        return True

    async def _keep(self, submissions: Sequence[Submission]) -> None:
        if self._spool is None:
            self._fail(submissions)
        else:
            await self._append_to_spool(submissions, self._spool, 0)

    async def _append_to_spool(self, lot: Sequence[Submission], spool: Spool, transaction_id: int) -> None:
        error: StorageError | None = None
        try:
            batches = [submission.batch for submission in lot]
            for position in await asyncio.to_thread(spool.append, batches, transaction_id=transaction_id):
                self._settle(lot[position], IdempotencyKeyReusedError())
            self._is_spool_usable = True
        except StorageUnavailableError as failure:
            if self._is_spool_usable:
                _logger.error("batches are refused, as neither the database nor the spool takes them: %s", failure)
            self._is_spool_usable = False
            error = failure
        self._settle_all(lot, error)

    def _fail(self, submissions: Iterable[Submission]) -> None:
        self._settle_all(submissions, StorageUnavailableError("the database is not available"))

    def _settle_all(self, submissions: Iterable[Submission], error: StorageError | None) -> None:
        for submission in submissions:
            self._settle(submission, error)


def _target_of(lot: Sequence[Submission]) -> Target:
    target = lot[0].target
    assert target is not None  # noqa: S101 - the writer gives each its own
    return target
