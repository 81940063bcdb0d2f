"""The connections of a query process, and how long a query may take on one of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import ConnectionTimeout, LockNotAvailable, QueryCanceled, UndefinedTable
from psycopg_pool import AsyncConnectionPool

from storage.database import open_pool, run
from storage.errors import QueryTooLongError, StorageUnavailableError
from storage.priority import let_backend_give_way
from storage.reading.memory import Memories
from storage.reading.passes import BehindError, Passes
from storage.reading.totals import REFERENCE, Adding
from storage.reading.transaction import MovedError, Newest, Place, Transaction
from storage.rollups.state import STATE, RollupState

Result = TypeVar("Result")

# All reads of an answer see the same rows. A plan with JIT takes longer to compile than most queries run.
_BEGIN = """
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = '{timeout_ms}ms'; SET LOCAL lock_timeout = '1s'; SET LOCAL jit = off;
SELECT {condition};
"""
_MARGIN_S = 2.0  # for Postgres to tell that its own limit has passed


class Reader:
    """Runs queries on a few connections of one event loop, so that others wait for their turn."""

    CONNECTIONS = 4

    def __init__(
        self,
        database_url: str,
        *,
        name: str,
        timeout_s: float,
        connections: int = CONNECTIONS,
        adding: Adding = REFERENCE,
        ask_fd: int | None = None,
    ) -> None:
        """A statement takes `timeout_s` at most. If passes of the rollups can be asked for, it is by `ask_fd`."""
        self._adding = adding
        self._memories = Memories()
        self._pool = open_pool(database_url, size=connections, name=name, on_connect=self._on_connect)
        self._passes = None if ask_fd is None else Passes(self._pool, ask_fd)
        self._timeout_s = timeout_s

    def _on_connect(self, connection: AsyncConnection) -> None:
        let_backend_give_way(connection)
        self._memories.forget_all()

    @property
    def pool(self) -> AsyncConnectionPool:
        """The connections, for what else the process asks."""
        return self._pool

    async def open(self) -> None:
        """Begin to connect to the database, which need not be up."""
        await self._pool.open()

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return self._pool.get_stats().get("pool_size", 0)

    async def close(self, timeout_s: float) -> None:
        """Close the connections."""
        await self._pool.close(timeout_s)

    async def part_of(self, project: int) -> int:
        """Return a number that projects share whose rows one transaction can read: here, all."""
        return 0

    async def read(
        self, action: "Callable[[Transaction], Awaitable[Result]]", project: int, place: Place | None = None
    ) -> "Result":
        """Return what `action` reads of a project in one transaction.

        It is called again when a connection was lost, and when it has to wait for a pass of the rollups. Raises
        QueryTooLongError, StorageUnavailableError, and MovedError when the tables of `place` are elsewhere.
        """

        if self._passes is None or not self._passes.are_made:
            return await self._read(action, place, Newest.READ)
        try:
            return await self._read(action, place, Newest.READ_FEW)
        except BehindError as behind:
            has_all = await self._passes.wait(behind.wanted)
        return await self._read(action, place, Newest.LEAVE_OUT if has_all else Newest.READ)

    async def _read(
        self, action: "Callable[[Transaction], Awaitable[Result]]", place: Place | None, newest: Newest
    ) -> "Result":
        async def act(connection: AsyncConnection) -> "Result":
            async with self._transaction(connection, place, newest) as transaction:
                return await action(transaction)

        try:
            return await run(self._pool, act, self._timeout_s + _MARGIN_S)
        except ConnectionTimeout as error:
            raise QueryTooLongError(str(error)) from error
        except psycopg.OperationalError as error:
            raise StorageUnavailableError(str(error)) from error

    @asynccontextmanager
    async def reading(self, project: int, place: Place | None = None) -> AsyncIterator[Transaction]:
        """Hold a transaction open, for a stream of a project's rows. Raises as `read` does."""
        try:
            async with self._pool.connection() as connection, self._transaction(connection, place) as transaction:
                yield transaction
        except psycopg.OperationalError as error:
            raise StorageUnavailableError(str(error)) from error

    @asynccontextmanager
    async def _transaction(
        self, connection: AsyncConnection, place: Place | None, newest: Newest = Newest.READ
    ) -> AsyncIterator[Transaction]:
        transaction = None
        try:
            transaction = await self._begin(connection, place, newest)
            yield transaction
        except UndefinedTable as error:
            raise MovedError(str(error)) from error
        # Not as errors of psycopg: `run` would take them for lost connections.
        except QueryCanceled as error:
            if transaction is not None and transaction.is_behind:  # a pass helps more than a narrower range
                raise StorageUnavailableError("the rollups lack too many rows") from error
            raise QueryTooLongError(str(error)) from error
        except LockNotAvailable as error:
            raise StorageUnavailableError(str(error)) from error
        finally:
            if not connection.broken:
                await connection.rollback()

    async def _begin(self, connection: AsyncConnection, place: Place | None, newest: Newest) -> Transaction:
        """Begin a transaction by one message to the database. Raises MovedError."""
        condition = "true" if place is None else place.condition
        begin = _BEGIN.format(timeout_ms=round(self._timeout_s * 1000), condition=condition) + STATE
        cursor = await connection.execute((begin if place is None else place.statement_of(begin)).encode())
        results = [await each.fetchone() async for each in cursor.results() if each.description is not None]
        is_there, state = results
        if is_there != (True,) or state is None:
            raise MovedError
        return Transaction(connection, RollupState(*state), self._adding, self._memories, place, newest)
