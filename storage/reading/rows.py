"""Single rows: a page of the list, the rows of a trace, and all rows of a range, one after the other."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from storage.reading.filters import ALWAYS, Filter, conditions_of, values_of
from storage.reading.narrowing import Narrowed
from storage.reading.transaction import Transaction

MOST_COUNTED = 10_000
MOST_SCANNED = 30_000  # rows that are looked at to count those that a filter selects
MOST_OF_TRACE = 1_000

# What is read of a row.
COLUMNS: Final = """
    id, trace, trace_is_dashed, other_trace, is_inbound, method, host, path, status_code,
    coalesce(duration_ms, long_duration_ms) AS duration_ms, coalesce(request_size, long_request_size) AS request_size,
    coalesce(response_size, long_response_size) AS response_size, user_id, error_fingerprint, "timestamp"
"""
_NEWEST_FIRST = 'ORDER BY "timestamp" DESC, id DESC'
# Two conditions, since only the first one alone is one for an index.
_AFTER = '"timestamp" <= %(last_timestamp)s AND ("timestamp", id) < (%(last_timestamp)s, %(last_id)s)'
_COUNT = f"SELECT count(*) FROM (SELECT FROM readable_rows WHERE {ALWAYS} LIMIT %(limit)s) AS counted"
_COUNT_NEWEST = f"""
SELECT count(*) AS scanned, count(*) FILTER (WHERE {{conditions}}) AS found
  FROM (SELECT * FROM readable_rows WHERE {ALWAYS} ORDER BY "timestamp" DESC LIMIT %(limit)s) AS newest
"""
_IN_RANGE = f"""
SELECT {COLUMNS} FROM readable_rows WHERE {{conditions}} {_NEWEST_FIRST} LIMIT %(limit)s OFFSET %(offset)s
"""
# In stretches of time, each by the index.
_IN_STRETCHES = f"""
SELECT found.* FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS stretch (begins, ends), LATERAL (
    SELECT {COLUMNS} FROM readable_rows
     WHERE {{conditions}} AND "timestamp" >= stretch.begins AND "timestamp" < stretch.ends
) AS found {_NEWEST_FIRST} LIMIT %(limit)s OFFSET %(offset)s
"""
# An expression of the project is none of an index: the index by trace finds far fewer rows.
_TRACE = f"""
SELECT {COLUMNS} FROM readable_rows WHERE project + 0 = %(project)s AND {{condition}}
 ORDER BY "timestamp", id LIMIT %(limit)s
"""
_W3C_TRACE = "trace = %(trace_id)s::uuid AND NOT trace_is_dashed"
_OTHER_TRACE = "other_trace = %(trace_id)s::text"
_DASHED_TRACE = f"(trace = %(trace_id)s::uuid AND trace_is_dashed OR {_OTHER_TRACE})"
_FROM = ' AND "timestamp" >= %(start)s'
_TO = ' AND "timestamp" < %(end)s'
_HEX = re.compile("[0-9a-f]{32}")
_DASHED = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """A stored request; sizes in bytes."""

    id: UUID
    trace_id: str
    direction: str
    method: str
    host: str
    path: str
    status_code: int
    duration_ms: int
    request_size: int
    response_size: int
    user_id: str | None
    error_fingerprint: str | None
    timestamp: datetime
    received_at: datetime


class Position(NamedTuple):
    """Where in the list a row stands."""

    timestamp: datetime
    id: UUID


async def list_rows(
    transaction: Transaction,
    rows: Filter,
    narrowed: Narrowed | None,
    *,
    after: Position | None = None,
    offset: int = 0,
    limit: int,
) -> list[Row]:
    """Return rows, newest first: those that follow a position, or else an offset."""
    rows = transaction.seen(rows)
    conditions = conditions_of(rows)
    values = {**values_of(rows), "offset": offset, "limit": limit}
    if after is not None:
        conditions = f"{conditions} AND {_AFTER}"
        values |= {"last_timestamp": after.timestamp, "last_id": after.id}
    query = _IN_RANGE
    if narrowed is not None:
        stretches = narrowed.first(offset + limit, None if after is None else after.timestamp)
        if not stretches:
            return []
        values |= {"start": stretches[-1].start, "end": stretches[0].end}
        values |= {"starts": [each.start for each in stretches], "ends": [each.end for each in stretches]}
        if narrowed.is_exact and len(stretches) > 1:
            query = _IN_STRETCHES
        else:
            await transaction.avoid_sorting()
    return to_rows(await transaction.rows(query.format(conditions=conditions), values))


async def count_rows(
    transaction: Transaction, rows: Filter, narrowed: Narrowed | None, most: int = MOST_COUNTED
) -> tuple[int, bool]:
    """Return the number of rows, and whether it is all of them: counting stops at `most`, and 0 counts none.

    It stops at what MOST_SCANNED rows have, too.
    """
    rows = transaction.seen(rows)
    if most == 0:
        return 0, False
    if narrowed is not None and (narrowed.is_exact or narrowed.total == 0):
        return min(narrowed.total, most), narrowed.total <= most
    conditions = conditions_of(rows)
    if conditions == ALWAYS:
        (counted,) = await transaction.rows(_COUNT, {**values_of(rows), "limit": most + 1})
        return min(counted["count"], most), counted["count"] <= most
    query = _COUNT_NEWEST.format(conditions=conditions)
    (counted,) = await transaction.rows(query, {**values_of(rows), "limit": MOST_SCANNED})
    is_exact = counted["scanned"] < MOST_SCANNED and counted["found"] <= most
    return min(counted["found"], most), is_exact


async def trace_rows(
    transaction: Transaction, project: int, trace_id: str, *, start: datetime | None, end: datetime | None
) -> list[Row]:
    """Return the first MOST_OF_TRACE rows of a trace, oldest first; of all time, or of a range."""
    await transaction.avoid_scans()
    if _HEX.fullmatch(trace_id):
        condition = _W3C_TRACE
    else:
        condition = _DASHED_TRACE if _DASHED.fullmatch(trace_id) else _OTHER_TRACE
    condition += (_FROM if start is not None else "") + (_TO if end is not None else "")
    values = {"project": project, "trace_id": trace_id, "limit": MOST_OF_TRACE, "start": start, "end": end}
    return to_rows(await transaction.rows(_TRACE.format(condition=condition), values))


async def stream_rows(transaction: Transaction, rows: Filter) -> AsyncIterator[list[Row]]:
    """Yield all rows, newest first, some at a time."""
    query = f"SELECT {COLUMNS} FROM readable_rows WHERE {conditions_of(rows)} {_NEWEST_FIRST}"
    async for some in transaction.pages(query, values_of(rows)):
        yield to_rows(some)


def to_rows(found: Sequence[dict[str, Any]]) -> list[Row]:
    """Return rows that were read as COLUMNS."""
    return [_to_row(**row) for row in found]


def _to_row(
    *, trace: UUID | None, trace_is_dashed: bool, other_trace: str | None, is_inbound: bool, **columns: Any
) -> Row:
    trace_id = other_trace or ""
    if trace is not None:
        trace_id = str(trace) if trace_is_dashed else trace.hex
    row_id: UUID = columns["id"]
    # Rows that somebody put in by SQL may have other ids, which tell no time.
    received_at = columns["timestamp"]
    if row_id.version == 7:
        received_at = _EPOCH + timedelta(milliseconds=row_id.int >> 80)
    direction = "inbound" if is_inbound else "outbound"
    return Row(trace_id=trace_id, direction=direction, received_at=received_at, **columns)
