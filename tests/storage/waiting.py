"""Holding others up, and waiting until they are."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from threading import Barrier, Thread
from typing import TypeVar

import psycopg

from storage.writer import EventWriter
from tests.storage.rows import encoded
from tests.storage.submitting import Stored, submit

Result = TypeVar("Result")

TIMEOUT_S = 20.0

_WAITING = """
SELECT count(*) FROM pg_locks
 WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_TERMINATE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'seestack-ingest tests'
"""


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)


def count_waiting(connection: psycopg.Connection) -> int:
    """Return how many locks are waited for in the database of the connection."""
    row = connection.execute(_WAITING).fetchone()
    assert row is not None
    return int(row[0])


def terminate_pool_backends(connection: psycopg.Connection) -> int:
    """End the server's side of every connection of the tests' pool, and return how many there were."""
    return len(connection.execute(_TERMINATE).fetchall())


@contextmanager
def transaction_holding(url: str, statement: str) -> Iterator[None]:
    """Keep a transaction open in which `statement` was executed, and roll it back at the end."""
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())
        yield
        connection.rollback()


@contextmanager
def busy_flushers(
    writer: EventWriter, connection: psycopg.Connection, url: str
) -> Iterator[tuple[list[Stored], Callable[[], None]]]:
    """Hold up every flusher of the writer with a batch each, so that what is submitted now is queued.

    Yields the futures of those batches, and a function that lets the flushers go on. At the end they are done.
    """
    busy: list[Stored] = []
    with ExitStack() as stack:
        stack.enter_context(transaction_holding(url, "LOCK TABLE http_requests IN ACCESS EXCLUSIVE MODE"))
        for _ in range(EventWriter.FLUSHERS):
            busy.append(submit(writer, encoded()))
            wait_until(lambda: count_waiting(connection) == len(busy))
        yield busy, stack.close
    wait(busy, TIMEOUT_S)


def run_at_once(count: int, action: Callable[[], Result]) -> list[Result]:
    """Call `action` in that many threads at the same moment and return the results; what one raises is raised."""
    barrier = Barrier(count)
    futures: list[Future[Result]] = [Future() for _ in range(count)]

    def run(future: "Future[Result]") -> None:
        try:
            barrier.wait(TIMEOUT_S)
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
