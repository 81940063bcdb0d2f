"""The event writer: batches go in from many threads, come out as few large COPY commands.

Batches that arrive while a flush is under way wait in a queue and leave together in the next one: a lone batch is
written at once, and under load flushes grow by themselves. Whoever submitted a batch is woken only after its commit,
and all who wait for one flush are woken together, since each hand-over between threads costs more than a row.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from storage.errors import BatchRefusedError, StorageError, StorageUnavailableError, WriterOverloadedError
from storage.http_requests import COPY, COPY_HEADER, COPY_TRAILER, EncodedBatch

Waiter = TypeVar("Waiter")

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Submission(Generic[Waiter]):
    """A batch on its way to the table. `waiter` is whatever `wake` needs to wake who submitted it."""

    batch: EncodedBatch
    waiter: Waiter
    wake: "Callable[[list[Submission[Waiter]]], None]"
    error: StorageError | None = None
    # Set by a submitter that does not wait any more: what has not been begun is not written then.
    is_withdrawn: bool = False

    def rows_stored(self) -> int:
        """Return the number of rows, durable by now; only to be called once woken.

        Raises StorageUnavailableError or BatchRefusedError.
        """
        if self.error is not None:
            raise self.error
        return self.batch.rows


class EventWriter:
    """Writes batches into `http_requests` through a few flusher threads, each with one connection at a time."""

    FLUSHERS = 2  # one fills its COPY while the other waits for its commit to reach the disk
    MAX_FLUSH_BYTES = 4 * 2**20
    MAX_QUEUED_BYTES = 32 * 2**20
    # A flush that failed before its data was complete cannot have been committed, so it is tried again.
    ATTEMPTS = 2

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._queue: deque[Submission[Any]] = deque()
        self._queued_bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name=f"flusher-{number}", daemon=True) for number in range(self.FLUSHERS)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, batch: EncodedBatch, waiter: Waiter, wake: "Callable[[list[Submission[Waiter]]], None]"
    ) -> Submission[Waiter]:
        """Queue a batch; once it is stored or refused, `wake` is called, in another thread, with all of one flush.

        Raises WriterOverloadedError when the queue is full or closed.
        """
        submission = Submission(batch, waiter, wake)
        with self._changed:
            if self._closed:
                raise WriterOverloadedError("the server is shutting down")
            if self._queued_bytes + len(batch.data) > self.MAX_QUEUED_BYTES:
                raise WriterOverloadedError("the write queue is full")
            self._queue.append(submission)
            self._queued_bytes += len(batch.data)
            self._changed.notify()
        return submission

    def close(self, timeout_s: float) -> None:
        """Take no more batches, write those that are queued, and wait up to `timeout_s` for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self) -> None:
        while submissions := self._take():
            wanted = [submission for submission in submissions if not submission.is_withdrawn]
            if wanted:
                self._flush(wanted)
            _wake(wanted)

    def _take(self) -> "list[Submission[Any]]":
        """Wait for work and return what fits one flush; an empty list once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            taken: list[Submission[Any]] = []
            taken_bytes = 0
            while self._queue and (not taken or taken_bytes + len(self._queue[0].batch.data) <= self.MAX_FLUSH_BYTES):
                submission = self._queue.popleft()
                taken.append(submission)
                taken_bytes += len(submission.batch.data)
            self._queued_bytes -= taken_bytes
        return taken

    def _flush(self, submissions: "Sequence[Submission[Any]]") -> None:
        """Write all batches in one transaction, or each alone when Postgres refuses one of them."""
        try:
            self._copy([submission.batch for submission in submissions])
        except BatchRefusedError as error:
            if len(submissions) == 1:
                submissions[0].error = error
            else:
                for submission in submissions:
                    self._flush([submission])
        except StorageError as error:
            for submission in submissions:
                submission.error = error
        except Exception:
            # A flusher that ends would leave its successors' batches waiting for ever.
            _logger.exception("a flush of %d batches failed unexpectedly", len(submissions))
            for submission in submissions:
                submission.error = StorageError("the flush failed unexpectedly")

    def _copy(self, batches: Sequence[EncodedBatch]) -> None:
        """Copy the batches in one transaction; when this returns they are durable."""
        data = b"".join([COPY_HEADER, *(batch.data for batch in batches), COPY_TRAILER])
        for attempt in range(1, self.ATTEMPTS + 1):
            complete = False
            try:
                with self._pool.connection() as connection, connection.cursor() as cursor:
                    with cursor.copy(COPY) as copy:
                        copy.write(data)
                        complete = True
                    return
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if complete or attempt == self.ATTEMPTS or isinstance(error, PoolTimeout):
                    _logger.warning("a flush of %d batches failed: %s", len(batches), error)
                    raise StorageUnavailableError("the database is not available") from error
                # When one connection was lost, the others in the pool probably were, too.
                self._pool.check()
            except psycopg.errors.CheckViolation as error:
                # The row's day got its own partition while this waited for the default one, and is there next time.
                if attempt == self.ATTEMPTS:
                    raise _refusal(error) from None
            except psycopg.Error as error:
                raise _refusal(error) from None


def _wake(submissions: "Sequence[Submission[Any]]") -> None:
    by_wake: dict[Callable[[list[Submission[Any]]], None], list[Submission[Any]]] = {}
    for submission in submissions:
        by_wake.setdefault(submission.wake, []).append(submission)
    for wake, group in by_wake.items():
        wake(group)


def _refusal(error: psycopg.Error) -> BatchRefusedError:
    # The error's full text quotes values of the rows.
    return BatchRefusedError(f"Postgres refused: {error.diag.message_primary}")
