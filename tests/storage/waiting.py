"""Holding others up, and waiting until they are."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Barrier, Thread
from typing import TypeVar

import psycopg

from storage.writing.row_encoding import EncodedBatch
from tests.patience import PATIENCE_S
from tests.storage.rows import encoded
from tests.storage.submitting import Stored, Writer, submit

Result = TypeVar("Result")


_WAITING = """
SELECT count(*) FROM pg_locks
 WHERE NOT granted AND locktype LIKE %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_BACKENDS = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'seestack-ingest tests'
   AND (%(stage)s = 'any'
        OR %(stage)s = 'idle' AND state = 'idle'
        OR %(stage)s = 'held up' AND state = 'active' AND wait_event_type = 'Lock'
        OR %(stage)s = 'filling' AND state = 'active' AND wait_event = 'ClientRead')
"""
_TERMINATE = "SELECT pg_terminate_backend(%s::integer, 10000)"

_GATE = 42
_ADD_GATE = f"""
CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared({_GATE}); RETURN NEW; END';
CREATE TRIGGER gate {{moment}} INSERT ON http_request_rows FOR EACH {{unit}} EXECUTE FUNCTION pass_gate();
"""


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)


def count_waiting(connection: psycopg.Connection, kind: str = "%") -> int:
    """Return how many locks are waited for in the database of the connection: all, or those of a kind."""
    row = connection.execute(_WAITING, (kind,)).fetchone()
    assert row is not None
    return int(row[0])


def backends(connection: psycopg.Connection, stage: str = "any") -> list[int]:
    """Return the server's processes behind the connections of the tests' writers and pools.

    `stage` chooses those that are "idle", "held up" by a lock, or "filling": reading the rows of a COPY.
    """
    return [pid for (pid,) in connection.execute(_BACKENDS, {"stage": stage}).fetchall()]


def terminate_backends(connection: psycopg.Connection, stage: str = "any") -> int:
    """End the server's side of such connections, and return how many there were."""
    pids = backends(connection, stage)
    for pid in pids:
        connection.execute(_TERMINATE, (pid,))
    return len(pids)


@contextmanager
def transaction_holding(url: str, statement: str) -> Iterator[Callable[[], None]]:
    """Keep a transaction open in which `statement` was executed, until the end or a call of what is yielded."""
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())
        yield connection.rollback
        connection.rollback()


@contextmanager
def busy_writer(
    writer: Writer, connection: psycopg.Connection, url: str, batch: EncodedBatch | None = None
) -> Iterator[tuple[Stored, Callable[[], None]]]:
    """Hold up the writer with one batch before it takes rows, so that what is submitted now is queued.

    Yields the future of that batch, and a function that lets the writer go on. At the end the batch is settled.
    """
    with transaction_holding(url, "LOCK TABLE http_request_rows IN ACCESS EXCLUSIVE MODE") as release:
        busy = submit(writer, batch or encoded())
        wait_until(lambda: count_waiting(connection) == 1)
        yield busy, release
    wait([busy], PATIENCE_S)


@contextmanager
def closed_gate(connection: psycopg.Connection, url: str, *, each_row: bool = False) -> Iterator[Callable[[], None]]:
    """Block those who store rows, until the end or a call of what is yielded.

    The server reads all rows first; with `each_row` it stops reading at the first.
    """
    moment, unit = ("BEFORE", "ROW") if each_row else ("AFTER", "STATEMENT")
    connection.execute(_ADD_GATE.format(moment=moment, unit=unit).encode())
    with transaction_holding(url, f"SELECT pg_advisory_xact_lock({_GATE})") as open_gate:
        yield open_gate


@contextmanager
def committing_writer(
    writer: Writer, connection: psycopg.Connection, url: str, *, each_row: bool = False
) -> Iterator[tuple[Stored, Callable[[], None]]]:
    """Hold up the writer in a commit, so that what is submitted now goes into a COPY that is filled until then.

    Yields the future of the batch that is committed, and a function that lets every commit go on. At the end the batch
    is settled.
    """
    writer.events.MAX_WAIT_S = 3600.0
    with closed_gate(connection, url, each_row=each_row) as release:
        committing = submit(writer, encoded())
        wait_until(lambda: count_waiting(connection, "advisory") == 1)
        yield committing, release
    wait([committing], PATIENCE_S)


def wait_until_filling(connection: psycopg.Connection) -> None:
    """Wait until the server reads the rows of a COPY, and has read all it was sent."""
    wait_until(lambda: len(backends(connection, "filling")) == 1)


def run_at_once(count: int, action: Callable[[], Result]) -> list[Result]:
    """Call `action` in that many threads at the same moment and return the results; what one raises is raised."""
    barrier = Barrier(count)
    futures: list[Future[Result]] = [Future() for _ in range(count)]

    def run(future: "Future[Result]") -> None:
        try:
            barrier.wait(PATIENCE_S)
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threads = [Thread(target=run, args=(future,)) for future in futures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [future.result() for future in futures]


@contextmanager
def in_background(action: Callable[[], Result]) -> Iterator["Future[Result]"]:
    """Run `action` in a thread, and wait for its end."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    thread = Thread(target=run)
    thread.start()
    try:
        yield future
    finally:
        thread.join()
