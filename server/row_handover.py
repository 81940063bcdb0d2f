"""Rows on their way from the processes that have stored them to the main process, which sums them up.

Whatever gets lost here, or is not taken, is read from the table instead.
"""

import asyncio
import fcntl
import os
import select
import struct
import threading
import time
from contextlib import suppress
from typing import Final

from storage.rollups.handed_rows import HandedRows, Handover
from storage.writing.destination import Target
from storage.writing.flush_report import FlushReport
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch

PIPE_BYTES: Final = 2**20
MOST_UNSENT_BYTES: Final = 8 * 2**20  # of a process, when the main one is slow
_HEADER: Final = struct.Struct("=QiIQ")  # id of the transaction, shard, rows, bytes


class RowSender:
    """The side of a process that stores rows, on its event loop."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is what `RowReceiver.open` has returned."""
        self._descriptor = descriptor
        self._transport: asyncio.WriteTransport | None = None

    async def start(self) -> None:
        """Send rows from now on."""
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(self._descriptor, "wb", buffering=0)
        self._transport, _ = await loop.connect_write_pipe(asyncio.Protocol, pipe)

    def close(self) -> None:
        """Send no more."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, report: FlushReport) -> None:
        """Hand over the rows of a flush if they are stored, unless too many wait already."""
        transport = self._transport
        if not report.is_stored or transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            return
        by_target: dict[Target, list[EncodedBatch]] = {}
        for submission in report.submissions:
            if submission.target is not None:
                by_target.setdefault(submission.target, []).append(submission.batch)
        for target, batches in by_target.items():
            if target.form.columns == HTTP_REQUESTS.form.columns:
                rows, data = sum(batch.rows for batch in batches), b"".join([batch.data for batch in batches])
                transport.write(_HEADER.pack(report.transaction_id, target.shard, rows, len(data)) + data)


class RowReceiver:
    """The side of the main process: a pipe from each process that stores rows, and a thread that reads all of them."""

    # Rows come with every flush, but to be woken up for each of them costs more than they do.
    PAUSE_S = 0.05

    def __init__(self, handover: Handover) -> None:
        """What is received is added to `handover`, which has it received at once when it is asked."""
        self._handover = handover
        self._lock = threading.Lock()
        self._pipes: dict[int, bytes] = {}  # what has come of a flush that is not whole yet
        self._buffer = memoryview(bytearray(PIPE_BYTES))
        self._readable = select.epoll()
        handover.receive = self.receive
        threading.Thread(target=self._run, name="rows", daemon=True).start()

    def open(self) -> int:
        """Return the end of a new pipe that a process inherits; it is read until it is closed. Raises OSError."""
        own, other = os.pipe()
        os.set_blocking(own, False)
        with suppress(OSError):  # a smaller one will do
            fcntl.fcntl(own, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with self._lock:
            self._pipes[own] = b""
        self._readable.register(own, select.EPOLLIN)
        return other

    def receive(self) -> None:
        """Receive all that has been sent until now."""
        with self._lock:
            for pipe in list(self._pipes):
                self._read(pipe)

    def _read(self, pipe: int) -> None:
        with suppress(BlockingIOError):
            while size := os.readv(pipe, [self._buffer]):
                self._pipes[pipe] = self._take_from(self._pipes[pipe] + self._buffer[:size])
            self._readable.unregister(pipe)
            os.close(pipe)
            del self._pipes[pipe]

    def _take_from(self, received: bytes) -> bytes:
        """Add all flushes that are whole, and return the rest."""
        at = 0
        while len(received) - at >= _HEADER.size:
            transaction_id, shard, rows, size = _HEADER.unpack_from(received, at)
            end = at + _HEADER.size + size
            if end > len(received):
                break
            self._handover.add(shard, transaction_id, HandedRows(rows, received[at + _HEADER.size : end]))
            at = end
        return received[at:]

    def _run(self) -> None:
        while True:
            self._readable.poll()
            time.sleep(self.PAUSE_S)
            self.receive()
