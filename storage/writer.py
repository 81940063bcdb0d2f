"""The event writer: batches go in from many threads, come out as few large COPY commands.

Batches that arrive while a flush is under way wait in a queue and leave together in the next one: a lone batch is
written at once, and under load flushes grow by themselves. A batch's future is resolved only after its commit.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import psycopg
from psycopg_pool import ConnectionPool

from storage.errors import BatchRefusedError, StorageError, StorageUnavailableError, WriterOverloadedError
from storage.http_requests import COPY, COPY_HEADER, COPY_TRAILER, EncodedBatch

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _QueuedBatch:
    batch: EncodedBatch
    future: "Future[int]" = field(default_factory=Future)


class EventWriter:
    """Writes batches into `http_requests` through a few flusher threads, each with one connection at a time."""

    FLUSHERS = 2  # one fills its COPY while the other waits for its commit to reach the disk
    MAX_FLUSH_BYTES = 4 * 2**20
    MAX_QUEUED_BYTES = 32 * 2**20
    # A flush that failed before its data was complete cannot have been committed, so it is tried again.
    ATTEMPTS = 2

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._queue: deque[_QueuedBatch] = deque()
        self._queued_bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name=f"flusher-{number}", daemon=True) for number in range(self.FLUSHERS)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: EncodedBatch) -> "Future[int]":
        """Queue a batch. The future gives the number of rows stored, once they are durable.

        The future raises StorageUnavailableError or BatchRefusedError; a caller that cancels it before its flush
        has begun takes the batch back. Raises WriterOverloadedError when the queue is full.
        """
        queued = _QueuedBatch(batch)
        with self._changed:
            if self._closed:
                raise WriterOverloadedError("the server is shutting down")
            if self._queued_bytes + len(batch.data) > self.MAX_QUEUED_BYTES:
                raise WriterOverloadedError("the write queue is full")
            self._queue.append(queued)
            self._queued_bytes += len(batch.data)
            self._changed.notify()
        return queued.future

    def close(self, timeout_s: float) -> None:
        """Take no more batches, write those that are queued, and wait up to `timeout_s` for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self) -> None:
        while queued := self._take():
            self._flush(queued)

    def _take(self) -> list[_QueuedBatch]:
        """Wait for work and return what fits one flush; an empty list once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            taken: list[_QueuedBatch] = []
            taken_bytes = 0
            while self._queue and (not taken or taken_bytes + len(self._queue[0].batch.data) <= self.MAX_FLUSH_BYTES):
                queued = self._queue.popleft()
                taken.append(queued)
                taken_bytes += len(queued.batch.data)
            self._queued_bytes -= taken_bytes
        return taken

    def _flush(self, queued: list[_QueuedBatch]) -> None:
        wanted = [item for item in queued if item.future.set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            self._copy([item.batch for item in wanted])
        except BatchRefusedError:
            self._flush_one_by_one(wanted)
        except StorageError as error:
            for item in wanted:
                item.future.set_exception(error)
        else:
            for item in wanted:
                item.future.set_result(item.batch.rows)

    def _flush_one_by_one(self, wanted: list[_QueuedBatch]) -> None:
        """Write each batch alone, so that the one Postgres refuses does not take its neighbours with it."""
        for item in wanted:
            try:
                self._copy([item.batch])
            except StorageError as error:
                item.future.set_exception(error)
            else:
                item.future.set_result(item.batch.rows)

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
                if complete or attempt == self.ATTEMPTS:
                    _logger.warning("a flush of %d batches failed: %s", len(batches), error)
                    raise StorageUnavailableError("the database is not available") from error
            except psycopg.Error as error:
                # The error's own text quotes values of the rows.
                raise BatchRefusedError(f"Postgres refused: {error.diag.message_primary}") from None
