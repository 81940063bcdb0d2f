"""Sums from the tables of rollups, in the same parts as from rows."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from storage.endpoints import OTHER
from storage.reading.filters import SLOW_MS, STATUS_GROUPS, Filter
from storage.reading.parts import GroupBy, Part, Sums
from storage.reading.reader import Transaction
from storage.reading.rollup_plan import Piece
from storage.rollups.buckets import add_buckets
from storage.rollups.groups import Level

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# What rollups cannot tell apart.
_UNKNOWN: Final = ("status", "path", "user_id", "error_fingerprint", "min_duration_ms")
_GROUPS: Final = {
    GroupBy.NOTHING: (),
    GroupBy.STEP: ("floor(extract(epoch FROM start) / %(step_s)s)::bigint",),
    GroupBy.HOST: ("host",),
    GroupBy.PATH: ("method", "host", "endpoint"),
}
_SUMS: Final = "is_inbound, status_class, requests, slow, duration_ms, request_bytes, response_bytes, buckets"
_ALWAYS: Final = "project = %(project)s AND level = %(level)s AND start >= %(start)s AND start < %(end)s"
_WHERE_GIVEN: Final = {
    "direction": "is_inbound = (%(direction)s = 'inbound')",
    "method": "method = %(method)s",
    "status_group": "status_class = %(status_class)s",
    "host": "host = %(host)s",
    "endpoint": "endpoint = %(endpoint)s",
}
# Of a host that became {other}, so did the endpoints.
_HAS_OTHER: Final = f"SELECT EXISTS (SELECT FROM {{table}} WHERE {_ALWAYS} AND coalesce(endpoint, host) = %(other)s)"


def can_tell(rows: Filter, slow_ms: int) -> bool:
    """Tell whether rollups know what a filter asks for."""
    return slow_ms == SLOW_MS and all(getattr(rows, name) is None for name in _UNKNOWN)


def moment_of(microseconds: int) -> datetime:
    """Return a time that counts from 2000-01-01."""
    return _EPOCH + microseconds * _MICROSECOND


def microseconds_of(moment: datetime) -> int:
    """Return a time as microseconds since 2000-01-01."""
    return (moment - _EPOCH) // _MICROSECOND


async def are_named(transaction: Transaction, rows: Filter, group_by: GroupBy, pieces: list[Piece]) -> bool:
    """Tell whether what a filter names has groups of its own, none of which may have become {other}."""
    if rows.host is None and rows.endpoint is None:
        return True
    for piece in pieces:
        query = _HAS_OTHER.replace("{table}", _table(piece))
        found = [row async for row in transaction.sums(query, _values_of(rows, group_by, piece, 1))]
        if found == [(True,)]:
            return False
    return True


async def parts_from_rollups(
    transaction: Transaction, rows: Filter, group_by: GroupBy, piece: Piece, step_s: int
) -> AsyncIterator[Part]:
    """Yield sums of a piece by group; a group comes in several parts."""
    groups = _GROUPS[group_by]
    given = [condition for name, condition in _WHERE_GIVEN.items() if getattr(rows, name) is not None]
    conditions = " AND ".join((_ALWAYS, *given))
    query = f"SELECT {', '.join((*groups, _SUMS))} FROM {_table(piece)} WHERE {conditions}"
    width = len(groups)
    async for row in transaction.sums(query, _values_of(rows, group_by, piece, step_s)):
        yield row[:width], _to_sums(*row[width:])


def _level_of(rows: Filter, group_by: GroupBy) -> Level:
    if group_by is GroupBy.PATH or rows.endpoint is not None:
        return Level.ENDPOINT
    if group_by is GroupBy.HOST or rows.host is not None or rows.method is not None:
        return Level.HOST
    return Level.PROJECT


def _values_of(rows: Filter, group_by: GroupBy, piece: Piece, step_s: int) -> dict[str, object]:
    values: dict[str, Any] = {name: getattr(rows, name) for name in (*_WHERE_GIVEN, "project")}
    if rows.status_group is not None:
        values["status_class"] = STATUS_GROUPS[rows.status_group][0] // 100
    return values | {
        "level": int(_level_of(rows, group_by)),
        "start": moment_of(piece.start_us),
        "end": moment_of(piece.end_us),
        "step_s": step_s,
        "other": OTHER,
    }


def _table(piece: Piece) -> str:
    assert piece.span is not None  # noqa: S101 - pieces of rollups have one
    return piece.span.table


def _to_sums(
    is_inbound: bool,
    status_class: int,
    requests: int,
    slow: int,
    duration_ms: int,
    request_bytes: int,
    response_bytes: int,
    buckets: bytes,
) -> Sums:
    failed = requests if status_class == 0 or status_class >= 4 else 0
    inbound = requests if is_inbound else 0
    sums = Sums(requests, failed, slow, inbound, duration_ms, request_bytes, response_bytes)
    add_buckets(sums.buckets, buckets)
    return sums
