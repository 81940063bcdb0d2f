"""Rows on their way from the processes that have stored them to the main process, which sums them up.

Whatever gets lost here, or is not taken, is read from the table instead.
"""

import asyncio
import errno
import socket
import struct
import threading
from typing import Final

from storage.rollups.handed_rows import HandedRows, Handover
from storage.writing.destination import Target
from storage.writing.flush_report import FlushReport
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch

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
        own = socket.socket(fileno=self._descriptor)
        own.setblocking(False)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=own)

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
    """The side of the main process: a thread for each process that stores rows."""

    def __init__(self, handover: Handover) -> None:
        """What is received is added to `handover`."""
        self._handover = handover

    def open(self) -> int:
        """Return the descriptor, which a new process inherits, of a socket whose other end is read until it closes.

        Raises OSError.
        """
        own, other = socket.socketpair()
        try:
            threading.Thread(target=self._receive, args=(own,), name="rows", daemon=True).start()
        except RuntimeError as error:
            own.close()
            other.close()
            raise OSError(errno.EAGAIN, str(error)) from error
        return other.detach()

    def _receive(self, connection: socket.socket) -> None:
        with connection:
            while (header := _read(connection, _HEADER.size)) is not None:
                transaction_id, shard, rows, size = _HEADER.unpack(header)
                data = _read(connection, size)
                if data is None:
                    return
                self._handover.add(shard, transaction_id, HandedRows(rows, data))


def _read(connection: socket.socket, size: int) -> bytearray | None:
    """Return so many bytes, None if the connection ends before."""
    data = bytearray(size)
    view, read = memoryview(data), 0
    while read < size:
        try:
            # Otherwise this thread would be woken up for each of many pieces.
            more = connection.recv_into(view[read:], 0, socket.MSG_WAITALL)
        except ConnectionResetError:
            return None
        if not more:
            return None
        read += more
    return data
