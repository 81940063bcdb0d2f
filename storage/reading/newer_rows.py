"""Rows that rollups lack: those of transactions from their mark on, and those at the edges of a range.

They are summed up by the code that makes rollups. Rows from the mark on are read once for all queries of a process:
the sums over those of transactions that have ended are remembered until a pass has put them into the rollups.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from storage.reading.filters import Filter, conditions_of, numbered, values_of
from storage.reading.memory import Chunk, ProjectMemory
from storage.reading.passes import BehindError
from storage.reading.project_names import ProjectNames
from storage.reading.rollup_parts import moment_of
from storage.reading.rollup_plan import Piece
from storage.reading.row_sums import RowSums, sums_of
from storage.reading.transaction import Newest, Transaction
from storage.rollups.aggregation import COLUMNS, Aggregator
from storage.rollups.groups import HOUR_US

FEW_ROWS: Final = 10_000  # of those that are not remembered: of more, a pass makes the sums for all queries
# If there is no pass to wait for, Postgres makes the sums of more: what is remembered of so many takes 50 MB at most.
MOST_ROWS: Final = 500_000
ROWS_AT_ONCE: Final = (
    50_000  # so many may be groups of their own, which take 2 KB each until they have their stored form
)
PAUSE_S: Final = 1.0  # in which nobody looks again how many there are
FEW_PAUSE_S: Final = 10.0  # the same where as many transactions were more than FEW_ROWS
LONGEST_US: Final = HOUR_US  # of a piece whose rows are copied

# An expression of the project is none of an index: the one by transaction finds far fewer rows.
_NEWER: Final = f"""
COPY (
    SELECT {COLUMNS}, transaction FROM readable_rows
     WHERE (transaction >= %(mark)s AND transaction < %(known_from)s OR transaction >= %(known_until)s)
       AND project + 0 = %(project)s AND isfinite("timestamp")
     LIMIT %(limit)s
) TO STDOUT (FORMAT BINARY)
"""
_EDGE: Final = f"SELECT {COLUMNS} FROM readable_rows WHERE {{conditions}}"
_EDGES: Final = "COPY ({edges}) TO STDOUT (FORMAT BINARY)"


async def read_newer(transaction: Transaction, project: int) -> list[RowSums] | None:
    """Return the sums over all rows of a project from the mark on; None when there are too many of them.

    Raises BehindError when they are too many for a transaction that reads few.
    """
    if transaction.newest is Newest.LEAVE_OUT:
        return []
    memory = transaction.memory_of(project)
    async with memory.reading:
        memory.keep_from(transaction.state.mark)
        if transaction.newest is Newest.READ_FEW:
            return await _read_few(transaction, project, memory)
        found = None
        if time.monotonic() >= memory.too_many_until:
            found = await _read_newer(transaction, project, memory, MOST_ROWS)
            if found is None:
                memory.chunks = []
                memory.too_many_until = time.monotonic() + PAUSE_S
        transaction.is_behind = found is None
        return found


async def _read_few(transaction: Transaction, project: int, memory: ProjectMemory) -> list[RowSums]:
    state = transaction.state
    transactions = state.next_transaction - max(state.mark, memory.known_until)
    if transactions < memory.many_transactions or time.monotonic() >= memory.many_until:
        found = await _read_newer(transaction, project, memory, FEW_ROWS)
        if found is not None:
            return found
        memory.many_transactions, memory.many_until = transactions, time.monotonic() + FEW_PAUSE_S
    raise BehindError(state.next_transaction)


async def _read_newer(transaction: Transaction, project: int, memory: ProjectMemory, most: int) -> list[RowSums] | None:
    """Return the sums; None when more than `most` rows are to be read for that, or too many to be remembered."""
    state = transaction.state
    # A snapshot that is older than what another query read has nothing of the later chunks.
    known = [chunk for chunk in memory.chunks if chunk.end <= state.final_below]
    known_from, known_until = (known[0].first, known[-1].end) if known else (state.mark, state.mark)
    sums = [each for chunk in known for each in chunk.sums]
    if known_from == state.mark and known_until >= state.next_transaction:
        return sums
    earlier, ended, unfinished = (_Summed(transaction.adding.make_aggregator, memory.names) for _ in range(3))
    rows = 0

    def add(row: bytes) -> None:
        nonlocal rows
        rows += 1
        number = int.from_bytes(row[-8:], signed=True)
        (earlier if number < known_from else ended if number < state.final_below else unfinished).add(row)

    await transaction.avoid_scans()
    values = {"mark": state.mark, "known_from": known_from, "known_until": known_until, "project": project}
    values["limit"] = most + 1
    await transaction.copy(_NEWER, values, add)
    if rows > most or rows + sum(each.rows for each in sums) > MOST_ROWS:
        return None
    memory.add(Chunk(state.mark, known_from, earlier.sums()))
    memory.add(Chunk(known_until, state.final_below, ended.sums()))
    return [*sums, *earlier.sums(), *ended.sums(), *unfinished.sums()]


class _Summed:
    """The sums over rows that are added one after the other, some at a time."""

    def __init__(self, make_aggregator: Callable[[], Aggregator], names: ProjectNames) -> None:
        self._make_aggregator = make_aggregator
        self._names = names
        self._aggregator = make_aggregator()
        self._rows = 0  # in the aggregator
        self._sums: list[RowSums] = []

    def add(self, row: bytes) -> None:
        """Add a row in binary COPY form."""
        self._aggregator.add(row)
        self._rows += 1
        if self._rows == ROWS_AT_ONCE:
            self._close()

    def sums(self) -> list[RowSums]:
        """Return the sums over all rows so far."""
        if self._rows:
            self._close()
        return self._sums

    def _close(self) -> None:
        self._sums.append(sums_of(self._aggregator, self._names))
        self._aggregator, self._rows = self._make_aggregator(), 0


async def read_edges(transaction: Transaction, rows: Filter, pieces: Sequence[Piece]) -> RowSums:
    """Return the sums over the rows of short pieces."""
    aggregator = transaction.adding.make_aggregator()
    if pieces:
        conditions = conditions_of(rows)
        values: dict[str, Any] = {}
        selections = []
        for number, piece in enumerate(pieces):
            within = replace(rows, start=moment_of(piece.start_us), end=moment_of(piece.end_us))
            selections.append(_EDGE.format(conditions=numbered(conditions, number)))
            values |= {f"{name}_{number}": value for name, value in values_of(within).items()}
        await transaction.copy(_EDGES.format(edges=" UNION ALL ".join(selections)), values, aggregator.add)
    return sums_of(aggregator, transaction.memory_of(rows.project).names)
