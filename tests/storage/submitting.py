"""Submitting batches to a writer from outside its event loop, and waiting for what becomes of them."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeAlias

from psycopg_pool import AsyncConnectionPool

from storage.database import open_pool
from storage.spool.spool import Spool
from storage.writing.destination import Database
from storage.writing.row_encoding import EncodedBatch
from storage.writing.writer import EventWriter
from tests.storage.event_loop import EventLoop

Stored: TypeAlias = "Future[int]"


class Writer:
    """An EventWriter on an event loop, for use in other threads."""

    def __init__(self, loop: EventLoop, url: str, *, spool: Spool | None = None) -> None:
        self.loop = loop
        self.events, self._pool = loop.run(_create(url, spool))

    def close(self, timeout_s: float) -> None:
        """Close the writer and return when that is done."""
        self.loop.run(self.events.close(timeout_s))
        self.loop.run(self._pool.close())


async def _create(url: str, spool: Spool | None) -> tuple[EventWriter, AsyncConnectionPool]:
    pool = open_pool(url, size=2, name="tests' pool")
    await pool.open()
    return EventWriter(Database(url), name="tests", pool=pool, spool=spool), pool


@contextmanager
def open_writer(loop: EventLoop, url: str, *, spool: Spool | None = None) -> Iterator[Writer]:
    """Make a writer, and close it at the end."""
    writer = Writer(loop, url, spool=spool)
    try:
        yield writer
    finally:
        writer.close(timeout_s=10)


def submit(writer: Writer, batch: EncodedBatch) -> Stored:
    """Submit a batch and return a future of the number of rows stored, durable once it is done."""
    (stored,) = submit_together(writer, [batch])
    return stored


def submit_together(writer: Writer, batches: Sequence[EncodedBatch]) -> list[Stored]:
    """Submit batches in one turn of the event loop."""
    return writer.loop.call(lambda: submit_on_loop(writer, batches))


def submit_on_loop(writer: Writer, batches: Sequence[EncodedBatch]) -> list[Stored]:
    """Submit batches; to be called on the writer's event loop."""
    return [writer.loop.start(writer.events.submit(batch).stored()) for batch in batches]


def withdraw(writer: Writer, stored: Stored) -> None:
    """Give up waiting for a batch, as a submitter does that is cancelled."""
    assert stored.cancel()
    writer.loop.call(lambda: None)  # by then the loop has cancelled it


def submit_withdrawn(writer: Writer, batch: EncodedBatch) -> None:
    """Submit a batch and take it back."""

    async def submit_and_withdraw() -> None:
        waiting = asyncio.create_task(writer.events.submit(batch).stored())
        await asyncio.sleep(0)  # a task that never ran would not notice
        waiting.cancel()

    writer.loop.run(submit_and_withdraw())
