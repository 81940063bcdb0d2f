"""The connections of a query process, and how long a query may take on one of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import ConnectionTimeout, LockNotAvailable, QueryCanceled
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from storage.database import open_pool, run
from storage.errors import QueryTooLongError, StorageUnavailableError

Result = TypeVar("Result")

# All reads of an answer see the same rows. A plan with JIT takes longer to compile than most queries run.
_BEGIN = """
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = '{timeout_ms}ms'; SET LOCAL lock_timeout = '1s'; SET LOCAL jit = off
"""
_TRACE_PLAN = "SET LOCAL enable_seqscan = off"
FETCHED_AT_ONCE = 1_000
_MARGIN_S = 2.0  # for Postgres to tell that its own limit has passed


class Transaction:
    """A read-only transaction that sees one state of the rows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    async def rows(self, query: str, values: dict[str, object]) -> Sequence[dict[str, Any]]:
        """Return the rows of a query, by column."""
        async with self.connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()

    async def sums(self, query: str, values: dict[str, object]) -> AsyncIterator[tuple[Any, ...]]:
        """Yield the rows of a query one after the other, as they come."""
        async with self.connection.cursor() as cursor:
            async for row in cursor.stream(query.encode(), values, size=FETCHED_AT_ONCE):
                yield row

    async def pages(self, query: str, values: dict[str, object]) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the rows of a query, some at a time, each time within the time limit; only so many are in memory."""
        async with self.connection.cursor("rows", row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            while rows := await cursor.fetchmany(FETCHED_AT_ONCE):
                yield rows

    async def avoid_scans(self) -> None:
        """Have the following queries use indexes, whatever the planner expects of a scan."""
        await self.connection.execute(_TRACE_PLAN)


class Reader:
    """Runs queries on a few connections of one event loop, so that others wait for their turn."""

    CONNECTIONS = 4

    def __init__(self, database_url: str, *, name: str, timeout_s: float, connections: int = CONNECTIONS) -> None:
        """A statement takes `timeout_s` at most."""
        self._pool = open_pool(database_url, size=connections, name=name)
        self._timeout_s = timeout_s
        self._begin = _BEGIN.format(timeout_ms=round(timeout_s * 1000)).encode()

    @property
    def pool(self) -> AsyncConnectionPool:
        """The connections, for what else the process asks."""
        return self._pool

    async def open(self) -> None:
        """Begin to connect to the database, which need not be up."""
        await self._pool.open()

    async def close(self, timeout_s: float) -> None:
        """Close the connections."""
        await self._pool.close(timeout_s)

    async def read(self, action: "Callable[[Transaction], Awaitable[Result]]") -> "Result":
        """Return what `action` reads in one transaction; it is called again when a connection turns out to be lost.

        Raises QueryTooLongError and StorageUnavailableError.
        """

        async def act(connection: AsyncConnection) -> "Result":
            async with self._transaction(connection) as transaction:
                return await action(transaction)

        try:
            return await run(self._pool, act, self._timeout_s + _MARGIN_S)
        except ConnectionTimeout as error:
            raise QueryTooLongError(str(error)) from error
        except psycopg.OperationalError as error:
            raise StorageUnavailableError(str(error)) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """Hold a transaction open, for a stream of rows. Raises as `read` does."""
        try:
            async with self._pool.connection() as connection, self._transaction(connection) as transaction:
                yield transaction
        except psycopg.OperationalError as error:
            raise StorageUnavailableError(str(error)) from error

    @asynccontextmanager
    async def _transaction(self, connection: AsyncConnection) -> AsyncIterator[Transaction]:
        await connection.execute(self._begin)
        try:
            yield Transaction(connection)
        # Not as errors of psycopg: `run` would take them for lost connections.
        except QueryCanceled as error:
            raise QueryTooLongError(str(error)) from error
        except LockNotAvailable as error:
            raise StorageUnavailableError(str(error)) from error
        finally:
            if not connection.broken:
                await connection.rollback()
