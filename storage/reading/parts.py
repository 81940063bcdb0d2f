"""Sums over rows, by group and by bucket of duration, in parts that can be added up whatever they were read from."""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from storage.reading.filters import Filter, conditions_of, numbered, values_of
from storage.reading.sums import Sums
from storage.reading.transaction import Transaction
from storage.sketch import BUCKET_SQL


class GroupBy(StrEnum):
    """What rows are grouped by."""

    NOTHING = "nothing"
    STEP = "step"  # the number of the step that the timestamp is in, since 1970
    HOST = "host"
    PATH = "path"  # method, host and path


class RowsOfTime(NamedTuple):
    """Rows, or those of them that have a transaction from that one on."""

    rows: Filter
    from_transaction: int | None = None


# A group, as the values that it was made by, and the sums over a part of its rows.
Part = tuple[tuple[Any, ...], Sums]

_BUCKET = BUCKET_SQL.format(ms="coalesce(duration_ms, long_duration_ms)")
_GROUPS: Final = {
    GroupBy.NOTHING: (),
    GroupBy.STEP: ('floor(extract(epoch FROM "timestamp") / %(step_s)s)::bigint',),
    GroupBy.HOST: ("host",),
    GroupBy.PATH: ("method", "host", "path"),
}
_NEWER = "AND transaction >= %(from_transaction)s"
# In the order of the fields of Sums. The sum of a bigint is a numeric, which may exceed any integer of Postgres.
_SUMS = """
    count(*), count(*) FILTER (WHERE status_code = 0 OR status_code >= 400),
    count(*) FILTER (WHERE coalesce(duration_ms, long_duration_ms) > %(slow_ms)s), count(*) FILTER (WHERE is_inbound),
    coalesce(sum(duration_ms), 0) + coalesce(sum(long_duration_ms), 0),
    coalesce(sum(request_size), 0) + coalesce(sum(long_request_size), 0),
    coalesce(sum(response_size), 0) + coalesce(sum(long_response_size), 0)
"""


async def parts_from_rows(
    transaction: Transaction,
    rows: Sequence[RowsOfTime],
    group_by: GroupBy,
    *,
    slow_ms: int,
    step_s: int = 1,
) -> AsyncIterator[Part]:
    """Yield sums over rows by group; a group comes in several parts."""
    columns = (*_GROUPS[group_by], _BUCKET)
    numbers = ", ".join(str(number + 1) for number in range(len(columns)))
    values: dict[str, object] = {"slow_ms": slow_ms, "step_s": step_s}
    selections = []
    for number, (within, from_transaction) in enumerate(rows):
        conditions = numbered(f"{conditions_of(within)} {'' if from_transaction is None else _NEWER}", number)
        selections.append(
            f"(SELECT {', '.join(columns)}, {_SUMS} FROM readable_rows WHERE {conditions} GROUP BY {numbers})"
        )
        of_part = {**values_of(within), "from_transaction": from_transaction}
        values |= {f"{name}_{number}": value for name, value in of_part.items()}
    async for row in transaction.sums(" UNION ALL ".join(selections), values):
        *group, bucket = row[: len(columns)]
        part = Sums(*map(int, row[len(columns) :]))  # type: ignore[arg-type] # the last field is not among them
        part.buckets[bucket] = part.requests
        yield tuple(group), part
