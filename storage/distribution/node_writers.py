"""A writer for each node: a batch goes to the node that has its project's rows, in a transaction of that node alone.

What the catalogue says is read once, and again when a node says no: a shard was moved, or came and is not ready yet. A
node that is down has its own writer's batches in the spool, and the others' go on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import psycopg
from psycopg_pool import AsyncConnectionPool

from storage.database import connect_async, cut_off_after, open_pool
from storage.distribution.catalogue import Node, Placement, read_placement_async
from storage.distribution.node import NodeDatabase
from storage.errors import StorageUnavailableError, WriterOverloadedError
from storage.spool.spool import Spool
from storage.writing.destination import Database
from storage.writing.flush_report import FlushReport, ignore_report
from storage.writing.row_encoding import EncodedBatch, project_of
from storage.writing.submission import Submission
from storage.writing.writer import EventWriter

LOOK_TIMEOUT_S = 3.0

_logger = logging.getLogger(__name__)


class NodeWriters:
    """Writes batches as an `EventWriter` does, into a database that is distributed."""

    MAX_CONNECTIONS = EventWriter.MAX_CONNECTIONS + 1  # to a node; one asks what is stored
    RETRY_INTERVAL_S = 0.1
    RETRY_FOR_S = 5.0  # how long batches wait until a node is ready for them; then the spool takes them

    def __init__(
        self,
        url: str,
        *,
        name: str,
        pool: AsyncConnectionPool,
        spool: Spool | None = None,
        on_flush: Callable[[FlushReport], None] = ignore_report,
    ) -> None:
        """`url` is the coordinator's; the rest is as for an EventWriter."""
        self._url = url
        self._name = name
        self._spool = spool
        self._on_flush = on_flush
        self._loop = asyncio.get_running_loop()
        self._placement: Placement | None = None
        self._nodes: dict[Node, tuple[NodeDatabase, EventWriter, AsyncConnectionPool]] = {}
        self._returned: list[Submission] = []
        self._routing: asyncio.Task[None] | None = None
        # While nobody knows where nodes are, all waits as in an outage of the coordinator.
        self._homeless = EventWriter(Database(url), name=name, pool=pool, spool=spool, on_flush=on_flush)
        self._is_closed = False

    async def start(self) -> None:
        """Look where the rows are; when nobody can tell now, it is tried again with the first batch."""
        await self._look()

    @property
    def is_dependable(self) -> bool:
        """Tell whether rows of all projects are likely to be stored now."""
        return self._placement is not None and all(writer.is_dependable for writer in self._writers)

    @property
    def pending_batches(self) -> int:
        """Batches that are taken and not settled."""
        return len(self._returned) + sum(writer.pending_batches for writer in self._writers)

    @property
    def pending_bytes(self) -> int:
        """Bytes of the batches that are taken and not settled."""
        return sum(writer.pending_bytes for writer in self._writers)

    @property
    def open_connections(self) -> int:
        """Connections to nodes that are open now."""
        pools = sum(pool.get_stats().get("pool_size", 0) for _, _, pool in self._nodes.values())
        return pools + sum(writer.open_connections for writer in self._writers)

    def submit(self, batch: EncodedBatch) -> Submission:
        """Begin to write a batch, as `EventWriter.submit` does."""
        if self._is_closed:
            raise WriterOverloadedError("the server is shutting down")
        if self.pending_bytes + len(batch.data) > EventWriter.MAX_PENDING_BYTES:
            raise WriterOverloadedError("the write queue is full")
        submission = Submission(batch, self._loop.create_future())
        if self._placement is None:
            self._return([submission])
        else:
            self._writer_of(batch, self._placement).take(submission)
        return submission

    async def close(self, timeout_s: float) -> None:
        """Take no more batches, and wait up to `timeout_s` until those that were taken are settled; fail the rest."""
        self._is_closed = True
        deadline = time.monotonic() + timeout_s
        while self._routing is not None and time.monotonic() < deadline:
            await asyncio.wait([self._routing], timeout=max(0.0, deadline - time.monotonic()))
        if self._routing is not None:
            self._routing.cancel()
        for submission in self._returned:
            submission.settle(StorageUnavailableError("the server is shutting down"))
        left_s = max(0.0, deadline - time.monotonic())
        await asyncio.gather(*(writer.close(left_s) for writer in self._writers))
        await asyncio.gather(*(pool.close(left_s) for _, _, pool in self._nodes.values()))

    @property
    def _writers(self) -> list[EventWriter]:
        return [self._homeless, *(writer for _, writer, _ in self._nodes.values())]

    def _writer_of(self, batch: EncodedBatch, placement: Placement) -> EventWriter:
        node = placement.shard_of(project_of(batch)).node
        if node not in self._nodes:
            database = NodeDatabase(node.url(self._url), node, placement)
            pool = open_pool(database.url, size=1, name=self._name)
            writer = EventWriter(
                database,
                name=self._name,
                pool=pool,
                spool=self._spool,
                on_flush=self._on_flush,
                on_elsewhere=self._return,
            )
            self._nodes[node] = database, writer, pool
            # The pool connects in the background.
            self._loop.create_task(pool.open())
        return self._nodes[node][1]

    def _return(self, submissions: Sequence[Submission]) -> None:
        self._returned.extend(submissions)
        if self._routing is None and self._returned:
            self._routing = self._loop.create_task(self._route())

    async def _route(self) -> None:
        """Find out where batches belong now, and have them written there; those of no ready node go to the spool."""
        began_at = time.monotonic()
        try:
            while self._returned:
                submissions, self._returned = self._returned, []
                placement = await self._look()
                is_late = time.monotonic() - began_at > self.RETRY_FOR_S
                for submission in submissions:
                    writer = self._homeless if placement is None else self._writer_of(submission.batch, placement)
                    if placement is None or is_late:
                        writer.take_to_spool(submission)
                    else:
                        writer.take(submission)
                await asyncio.sleep(self.RETRY_INTERVAL_S)
        finally:
            self._routing = None

    async def _look(self) -> Placement | None:
        """Read the catalogue, of the coordinator or of a node; None when none of them answers."""
        urls = [self._url, *(database.url for database, _, _ in self._nodes.values())]
        for url in urls:
            try:
                connection = await asyncio.wait_for(connect_async(url, name=self._name), LOOK_TIMEOUT_S)
                try:
                    with cut_off_after(connection, LOOK_TIMEOUT_S):
                        placement = await read_placement_async(connection)
                finally:
                    await connection.close()
            except (psycopg.Error, TimeoutError) as error:
                _logger.warning("a node cannot say where rows are: %s", str(error).splitlines()[:1])
                continue
            if placement.shards:
                self._use(placement)
                return placement
        return None

    def _use(self, placement: Placement) -> None:
        self._placement = placement
        for database, _, _ in self._nodes.values():
            database.placement = placement
