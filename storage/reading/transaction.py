"""A transaction of a query: what it may see, and the ways to read in it."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from psycopg import AsyncConnection, OperationalError
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.rows import dict_row
from psycopg.waiting import WAIT_R

from storage.reading.filters import Filter
from storage.reading.memory import Memories, ProjectMemory
from storage.reading.totals import Adding
from storage.rollups.aggregation import END_SIZE, HEADER_SIZE
from storage.rollups.state import RollupState

# Workers take longer to start than an index takes to be read.
_INDEX_PLAN: Final = "SET LOCAL enable_seqscan = off; SET LOCAL max_parallel_workers_per_gather = 0"
_ORDERED_PLAN: Final = "SET LOCAL enable_sort = off"
FETCHED_AT_ONCE: Final = 1_000


class MovedError(Exception):
    """The tables of a place are not there any more."""


class Place(NamedTuple):
    """Tables that are read instead of those that statements name, and a condition of their being there, in SQL."""

    statement_of: Callable[[str], str]
    condition: str


class Newest(Enum):
    """What is done with the rows that rollups lack, which have a transaction from their mark on."""

    READ_FEW = auto()  # they are read, unless it is better to wait for a pass (BehindError)
    READ = auto()
    LEAVE_OUT = auto()  # they came after the query: what the rollups have is what was stored at a moment since then


class Transaction:
    """A read-only transaction that sees one state of the rows."""

    def __init__(
        self,
        connection: AsyncConnection,
        state: RollupState,
        adding: Adding,
        memories: Memories,
        place: Place | None = None,
        newest: Newest = Newest.READ,
    ) -> None:
        self.connection = connection
        self.state = state  # of the rollups, as the transaction sees them
        self.adding = adding
        self.newest = newest
        self.is_behind = False  # whether rollups lack more rows than can be summed up and remembered
        self._memories = memories
        self._memory: dict[int, ProjectMemory] = {}
        self._place = place

    def memory_of(self, project: int) -> ProjectMemory:
        """Return what is remembered of a project, the same as long as the transaction lasts."""
        if project not in self._memory:
            self._memory[project] = self._memories.of(project, self.state)
        return self._memory[project]

    def seen(self, rows: Filter) -> Filter:
        """Return the rows of a filter that this transaction counts."""
        return replace(rows, below=self.state.mark) if self.newest is Newest.LEAVE_OUT else rows

    def _encode(self, query: str) -> bytes:
        return (query if self._place is None else self._place.statement_of(query)).encode()

    async def rows(self, query: str, values: dict[str, object]) -> Sequence[dict[str, Any]]:
        """Return the rows of a query, by column."""
        async with self.connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(self._encode(query), values)
            return await cursor.fetchall()

    async def binary_rows(self, query: str, values: dict[str, object]) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a query, which are few or large."""
        async with self.connection.cursor(binary=True) as cursor:
            await cursor.execute(self._encode(query), values)
            return await cursor.fetchall()

    async def sums(self, query: str, values: dict[str, object]) -> AsyncIterator[tuple[Any, ...]]:
        """Yield the rows of a query one after the other, as they come."""
        async with self.connection.cursor() as cursor:
            async for row in cursor.stream(self._encode(query), values, size=FETCHED_AT_ONCE):
                yield row

    async def copy(self, query: str, values: Mapping[str, object], take: Callable[[bytes], object]) -> None:
        """Have `take` see each row of a COPY in binary form."""
        async with self.connection.cursor() as cursor, cursor.copy(self._encode(query), values) as copy:
            await self.connection.wait(_taken(self.connection.pgconn, take))
            await copy.read()

    async def pages(self, query: str, values: dict[str, object]) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the rows of a query, some at a time, each time within the time limit; only so many are in memory."""
        async with self.connection.cursor("rows", row_factory=dict_row) as cursor:
            await cursor.execute(self._encode(query), values)
            while rows := await cursor.fetchmany(FETCHED_AT_ONCE):
                yield rows

    async def avoid_scans(self) -> None:
        """Have the following queries use indexes, whatever the planner expects of a scan."""
        await self.connection.execute(_INDEX_PLAN)

    async def avoid_sorting(self) -> None:
        """Have the following queries read rows in the order of an index, and stop when they have enough of them.

        The planner takes filters for independent of each other: it expects too few rows, and would sort all of them.
        """
        await self.connection.execute(_ORDERED_PLAN)


def _taken(pgconn: PGconn, take: Callable[[bytes], object]) -> PQGen[None]:
    """Have `take` see all rows. The driver's own way takes 2 us a row."""
    start = HEADER_SIZE
    while True:
        length, data = pgconn.get_copy_data(1)
        if length == 0:
            yield WAIT_R
            pgconn.consume_input()
        elif length < 0:
            raise OperationalError("the database ended the copy of rows")
        elif length - start == END_SIZE:
            return
        else:
            take(data[start:])  # type: ignore[arg-type] # memoryviews, which aggregators take as well
            start = 0
