"""Sums over rows, by group and by bucket of duration, in parts that can be added up whatever they were read from."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from storage.reading.filters import Filter, conditions_of, values_of
from storage.reading.reader import Transaction
from storage.sketch import BUCKET_SQL


class GroupBy(StrEnum):
    """What rows are grouped by."""

    NOTHING = "nothing"
    STEP = "step"  # the number of the step that the timestamp is in, since 1970
    HOST = "host"
    PATH = "path"  # method, host and path


@dataclass(slots=True)
class Sums:
    """Sums over the rows of a group; milliseconds and bytes."""

    requests: int = 0
    failed: int = 0
    slow: int = 0
    inbound: int = 0
    duration_ms: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    buckets: dict[int, int] = field(default_factory=dict)  # requests by the bucket of their duration

    def add(self, other: "Sums") -> None:
        """Add what another part says of the same group."""
        self.requests += other.requests
        self.failed += other.failed
        self.slow += other.slow
        self.inbound += other.inbound
        self.duration_ms += other.duration_ms
        self.request_bytes += other.request_bytes
        self.response_bytes += other.response_bytes
        for bucket, requests in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + requests


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
    rows: Filter,
    group_by: GroupBy,
    *,
    slow_ms: int,
    step_s: int = 1,
    from_transaction: int | None = None,
) -> AsyncIterator[Part]:
    """Yield sums over rows by group; a group comes in several parts. Rows of earlier transactions are left out."""
    columns = (*_GROUPS[group_by], _BUCKET)
    numbers = ", ".join(str(number + 1) for number in range(len(columns)))
    query = f"""
        SELECT {", ".join(columns)}, {_SUMS}
          FROM readable_rows WHERE {conditions_of(rows)} {"" if from_transaction is None else _NEWER} GROUP BY {numbers}
    """
    values = {**values_of(rows), "slow_ms": slow_ms, "step_s": step_s, "from_transaction": from_transaction}
    async for row in transaction.sums(query, values):
        *group, bucket = row[: len(columns)]
        part = Sums(*map(int, row[len(columns) :]))  # type: ignore[arg-type] # the last field is not among them
        part.buckets[bucket] = part.requests
        yield tuple(group), part
