"""A libpq connection on an event loop: input is read at once, output is sent as soon as the socket takes it."""

import asyncio
import os
import select
from collections.abc import Callable

import psycopg
from psycopg.pq import ConnStatus
from psycopg.pq.abc import PGconn


class LibpqConnection:
    """A libpq connection that calls back when input has arrived."""

    def __init__(self, connection: psycopg.AsyncConnection, on_input: Callable[[], None]) -> None:
        # It is kept because it would close the libpq connection when it is forgotten.
        self._connection = connection
        self.pgconn: PGconn = connection.pgconn
        self.pgconn.nonblocking = 1
        self._on_input = on_input
        self._loop = asyncio.get_running_loop()
        # libpq closes its descriptor when the connection is lost, while the event loop still looks at it.
        self._descriptor = os.dup(self.pgconn.socket)
        self._readable = select.poll()
        self._readable.register(self._descriptor, select.POLLIN)
        self._has_failed = False
        self._loop.add_reader(self._descriptor, self.receive)

    @property
    def is_lost(self) -> bool:
        """Tell whether the connection is known to be lost."""
        return self._has_failed or self.pgconn.status != ConnStatus.OK

    def flush(self) -> None:
        """Send what libpq has buffered, now or as soon as the socket takes it."""
        if self._descriptor < 0:
            return
        self._loop.remove_writer(self._descriptor)
        # A flush may read input without a call of `receive`, and a server may refuse rows before the last one.
        self._loop.call_soon(self.receive)
        try:
            if self.pgconn.flush():
                self._loop.add_writer(self._descriptor, self.flush)
        except psycopg.OperationalError:
            return  # what the server said before it closed the connection is still to be read

    def has_input(self) -> bool:
        """Tell whether anything has arrived that was not read."""
        return self._descriptor >= 0 and bool(self._readable.poll(0))

    def receive(self) -> None:
        """Read everything that has arrived: after an error of the connection libuv never calls this again."""
        if self._descriptor < 0:
            return
        try:
            self.pgconn.consume_input()
            while self._readable.poll(0):
                self.pgconn.consume_input()
        except psycopg.OperationalError:
            self._loop.remove_reader(self._descriptor)
            self._has_failed = True
        self._on_input()

    def close(self) -> None:
        """Close the connection."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self.pgconn.finish()
