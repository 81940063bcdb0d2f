"""A connection that does nothing but COPY, by libpq's own calls, on an event loop.

Rows are handed over while the server already inserts those before them, so that only the commit is left to wait for.
See the PostgreSQL manual, "libpq", "Asynchronous Command Processing" and "Functions Associated with the COPY Command".
With the COPY, in the same message, its transaction's id is asked for: the answer to the commit may get lost.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import lru_cache, partial

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from storage.database import DURABLE, connect_unset
from storage.writing.libpq_connection import LibpqConnection

LOST = "the connection to the database is lost"
SILENT = "the database does not answer"
# SQLSTATE classes that are about the rows: data exception, integrity constraint violation. Nothing is stored then. All
# others are about the server: it may take the rows another time, or have committed them before it reported the error.
_OF_ROWS = ("22", "23")
# Those of `hold_shards` (storage/distribution): it says no, or what it needs was never made on the node.
_OF_SHARDS = ("SM001", "42P01")
# Statements of one message are one transaction, and behind a pooler each may be with another backend: what a COPY needs
# to have set is set with it. A backend that waits for a lock does not notice that its client has left.
_BEFORE_COPY = f"SELECT pg_current_xact_id(), {DURABLE}, set_config('lock_timeout', '{{lock_timeout_ms}}', true);"


class _State(Enum):
    IDLE = auto()
    OPENING = auto()  # the connection is being made
    STARTING = auto()  # the server has the statement, and has not asked for rows yet
    FILLING = auto()  # the server takes rows
    ENDING = auto()  # the server commits


_ANSWERED = (_State.STARTING, _State.ENDING)  # what the server answers to


class ShardElsewhereError(psycopg.OperationalError):
    """The node does not have a shard that rows are for, or is not ready for it; nothing was sent."""


class CommitUnknownError(psycopg.OperationalError):
    """A COPY failed when the server had all of it: it may be committed, or may yet be, as `transaction_id`."""

    def __init__(self, message: str, transaction_id: int) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id


class Copier:
    """Executes `COPY ... FROM STDIN` again and again: `begin`, `add` as often as needed, `end`.

    Its connection is opened when it is needed, and again when it was lost.
    """

    ANSWER_TIMEOUT_S = 5.0  # in which the server must take a connection, a statement, and commit it
    LOCK_TIMEOUT_SHARE = 0.9  # of that time is the longest that the server may wait for a lock

    def __init__(self, url: str, *, name: str, transaction_base: int = 0) -> None:
        """`name` shows in the database's list of connections; ids of transactions count from `transaction_base`."""
        self._url = url
        self._transaction_base = transaction_base
        self._name = name
        self._message = b""
        self._loop = asyncio.get_running_loop()
        self._state = _State.IDLE
        self._connection: LibpqConnection | None = None
        self._opening: asyncio.Task[psycopg.AsyncConnection] | None = None
        self._result: PGresult | None = None
        self._further: deque[bytes] = deque()
        self._on_ready: Callable[[], None] = _ignore
        self._on_end: Callable[[psycopg.Error | None], None] = _ignore
        self._timer: asyncio.TimerHandle | None = None
        # Of the last copy that took rows.
        self.transaction_id = 0

    @property
    def is_idle(self) -> bool:
        """Tell whether a copy can be begun."""
        return self._state is _State.IDLE

    @property
    def is_connected(self) -> bool:
        """Tell whether the next copy goes over the connection of the last one."""
        return self._connection is not None and not self._connection.is_lost

    @property
    def is_filling(self) -> bool:
        """Tell whether rows can be added now."""
        return self._state is _State.FILLING

    def begin(
        self, statement: str, on_ready: Callable[[], None], on_end: "Callable[[psycopg.Error | None], None]"
    ) -> None:
        """Begin a copy in a transaction of its own; later `on_ready` is called once the server takes rows.

        The statement may go on with further COPYs; `end` gets all their rows. `on_end` is called when the rows are
        durable, or with the error that ended the copy: a DataError or IntegrityError when the server refuses the rows;
        an OperationalError for any other failure, a CommitUnknownError if they may be stored all the same, a
        ShardElsewhereError if another node is to be asked.
        """
        assert self.is_idle, "one copy at a time"  # noqa: S101 - the caller of the other one would never be told of its end
        lock_timeout_ms = round(1_000 * self.ANSWER_TIMEOUT_S * self.LOCK_TIMEOUT_SHARE)
        self._message = _message(statement, lock_timeout_ms)
        self._on_ready, self._on_end = on_ready, on_end
        if self.is_connected:
            self._start()
        else:
            self._open()

    def add(self, data: bytes) -> None:
        """Hand over rows, in the form that the statement asks for; only while filling."""
        assert self._connection is not None  # noqa: S101 - there is one while filling
        try:
            self._connection.pgconn.put_copy_data(data)
        except psycopg.OperationalError:
            # What the server said before it closed the connection is still to be read, and then the copy ends.
            self._loop.call_soon(self._connection.receive)

    def end(self, further: Iterable[bytes] = ()) -> None:
        """Have the rows committed, with those of each further COPY of the statement; only while filling."""
        self._state = _State.ENDING
        self._further = deque(further)
        self._expect_answer()
        self._end_rows()

    def _end_rows(self) -> None:
        assert self._connection is not None  # noqa: S101 - there is one while rows are sent
        try:
            self._connection.pgconn.put_copy_end()
        except psycopg.OperationalError as error:
            self._finish(error)
        else:
            self._connection.flush()

    def _send_further(self) -> None:
        self.add(self._further.popleft())
        self._end_rows()

    def poll(self) -> None:
        """Check whether the server has answered. The event loop does so, too, but late when it is busy."""
        if self._state in _ANSWERED and self._connection is not None and self._connection.has_input():
            self._connection.receive()

    def close(self) -> None:
        """Close the connection, whatever it is doing."""
        self._stop_timer()
        self._disconnect()
        self._state = _State.IDLE

    def _open(self) -> None:
        self._disconnect()
        self._state = _State.OPENING
        self._expect_answer()
        self._opening = self._loop.create_task(connect_unset(self._url, name=self._name))
        self._opening.add_done_callback(self._on_opened)

    def _on_opened(self, opening: "asyncio.Task[psycopg.AsyncConnection]") -> None:
        if opening.cancelled():
            return
        is_wanted = opening is self._opening
        try:
            opened = opening.result()
            if is_wanted:
                self._opening = None
                self._connection = LibpqConnection(opened, self._advance)
            else:
                opened.pgconn.finish()
        except Exception as error:
            # Whatever the error, the copy that waits for the connection must be told.
            if is_wanted:
                self._finish(psycopg.OperationalError(str(error)))
            return
        if is_wanted:
            self._start()

    def _start(self) -> None:
        assert self._connection is not None  # noqa: S101 - called when there is one
        self._state = _State.STARTING
        self._ask(partial(self._connection.pgconn.send_query, self._message))

    def _ask(self, send: Callable[[], None]) -> None:
        assert self._connection is not None  # noqa: S101 - called when there is one
        self._result = None
        self._expect_answer()
        try:
            send()
        except psycopg.OperationalError as error:
            self._finish(error)
        else:
            self._connection.flush()

    def _advance(self) -> None:
        """Process what has arrived from the server, the end of the connection included."""
        assert self._connection is not None  # noqa: S101 - it calls this
        pgconn = self._connection.pgconn
        while self._state in _ANSWERED and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                self._finish(_error_of(self._result))
            elif result.status == ExecStatus.COPY_IN and self._state is _State.STARTING:
                self._stop_timer()
                self._state = _State.FILLING
                self._on_ready()
            elif result.status == ExecStatus.COPY_IN and self._further:
                self._send_further()
            elif result.status == ExecStatus.TUPLES_OK and self._state is _State.STARTING:
                # What a statement asks before its COPY answers nothing.
                if number := result.get_value(0, 0):
                    self.transaction_id = self._transaction_base + int(number)
            elif self._result is None or self._result.status == ExecStatus.COMMAND_OK:
                self._result = result
        if self._connection is not None and self._connection.is_lost:
            self._finish(psycopg.OperationalError(LOST))

    def _expect_answer(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(self.ANSWER_TIMEOUT_S, self._give_up)

    def _give_up(self) -> None:
        self._finish(psycopg.OperationalError(SILENT))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self, error: psycopg.Error | None) -> None:
        self._stop_timer()
        if isinstance(error, psycopg.OperationalError):
            self._disconnect()
            if self._state is _State.ENDING:
                error = CommitUnknownError(str(error), self.transaction_id)
        if self._state is not _State.IDLE:
            self._state = _State.IDLE
            self._on_end(error)

    def _disconnect(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@lru_cache(64)
def _message(statement: str, lock_timeout_ms: int) -> bytes:
    return (_BEFORE_COPY.format(lock_timeout_ms=lock_timeout_ms) + statement).encode()


def _error_of(result: PGresult | None) -> psycopg.Error | None:
    if result is None:
        return psycopg.OperationalError(LOST)
    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        return None
    error = error_from_result(result)
    if error.sqlstate in _OF_SHARDS:
        return ShardElsewhereError(str(error))
    return error if (error.sqlstate or "").startswith(_OF_ROWS) else psycopg.OperationalError(str(error))


def _ignore(_: psycopg.Error | None = None) -> None:
    """Do nothing, before the first copy."""
