"""Reading from a database that is distributed: each query on the node that has its project's rows, in one snapshot."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool

from storage.database import run
from storage.distribution.catalogue import Node, Placement, Shard, read_placement_async
from storage.distribution.shards import statement_of
from storage.errors import StorageUnavailableError
from storage.reading.reader import Reader
from storage.reading.totals import REFERENCE, Adding
from storage.reading.transaction import MovedError, Place, Transaction

Result = TypeVar("Result")

LOOK_TIMEOUT_S = 5.0
ATTEMPTS = 5
PAUSE_S = 0.2

# In the snapshot of the transaction: what is read of the shard then is all that was ever stored in it.
_IS_HERE = """
EXISTS (SELECT FROM pg_dist_placement
         WHERE shardid = {} AND shardstate = 1 AND groupid = (SELECT groupid FROM pg_dist_local_group))
"""


class NodeReader:
    """Runs queries as a `Reader` does, with a few connections to each node."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        timeout_s: float,
        connections: int = Reader.CONNECTIONS,
        adding: Adding = REFERENCE,
    ) -> None:
        """`url` is the coordinator's; the rest is as for a Reader."""
        self._url = url
        self._make_reader = partial(Reader, name=name, timeout_s=timeout_s, connections=connections, adding=adding)
        self._coordinator = self._make_reader(url)
        self._nodes: dict[Node, Reader] = {}
        self._placement: Placement | None = None

    @property
    def pool(self) -> AsyncConnectionPool:
        """Connections to the coordinator, for what else the process asks."""
        return self._coordinator.pool

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return sum(reader.open_connections for reader in (self._coordinator, *self._nodes.values()))

    async def open(self) -> None:
        """Begin to connect to the coordinator, which need not be up."""
        await self._coordinator.open()

    async def close(self, timeout_s: float) -> None:
        """Close the connections."""
        await asyncio.gather(*(reader.close(timeout_s) for reader in (self._coordinator, *self._nodes.values())))

    async def part_of(self, project: int) -> int:
        """Return the number of a project's shard. Raises StorageUnavailableError."""
        return (await self._shard_of(project)).number

    async def read(self, action: "Callable[[Transaction], Awaitable[Result]]", project: int) -> "Result":
        """Return what `action` reads of a project in one transaction; it is called again when its shard was moved.

        Raises as `Reader.read` does.
        """
        for _ in range(ATTEMPTS):
            reader, place = await self._place_of(project)
            try:
                return await reader.read(action, project, place)
            except MovedError:
                self._placement = None
                await asyncio.sleep(PAUSE_S)
        raise StorageUnavailableError("the rows are being moved")

    @asynccontextmanager
    async def reading(self, project: int) -> AsyncIterator[Transaction]:
        """Hold a transaction open, for a stream of a project's rows. Raises as `read` does."""
        reader, place = await self._place_of(project)
        try:
            async with reader.reading(project, place) as transaction:
                yield transaction
        except MovedError as error:
            self._placement = None
            raise StorageUnavailableError("the rows are being moved") from error

    async def _place_of(self, project: int) -> tuple[Reader, Place]:
        shard = await self._shard_of(project)
        if shard.node not in self._nodes:
            self._nodes[shard.node] = self._make_reader(shard.node.url(self._url))
            await self._nodes[shard.node].open()
        return self._nodes[shard.node], Place(partial(statement_of, shard), _IS_HERE.format(shard.number))

    async def _shard_of(self, project: int) -> Shard:
        if self._placement is None:
            self._placement = await self._look()
        return self._placement.shard_of(project)

    async def _look(self) -> Placement:
        """Read the catalogue, of the coordinator or of a node. Raises StorageUnavailableError."""
        failure = ""
        for reader in (self._coordinator, *self._nodes.values()):
            try:
                placement = await run(reader.pool, read_placement_async, LOOK_TIMEOUT_S)
            except psycopg.Error as error:
                failure = failure or str(error)
            else:
                if placement.shards:
                    return placement
        raise StorageUnavailableError(failure or "the database is not distributed")
