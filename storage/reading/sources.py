"""Where an answer comes from: the one place that decides it. Now always from the rows."""

from collections.abc import AsyncIterator

from storage.reading.filters import Filter
from storage.reading.parts import GroupBy, Part, parts_from_rows
from storage.reading.reader import Transaction


async def read_parts(
    transaction: Transaction, rows: Filter, group_by: GroupBy, *, slow_ms: int, step_s: int = 1
) -> AsyncIterator[Part]:
    """Yield sums over rows by group; those of a group, added up, are exact."""
    async for part in parts_from_rows(transaction, rows, group_by, slow_ms=slow_ms, step_s=step_s):
        yield part
