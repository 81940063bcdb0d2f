"""What rollups have of a range: their stored groups, and what the numbers in these stand for."""

import struct
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from storage.endpoints import OTHER
from storage.reading.filters import SLOW_MS, Filter, numbered, status_classes
from storage.reading.parts import GroupBy
from storage.reading.project_names import Name, ProjectNames
from storage.reading.rollup_plan import Piece
from storage.reading.totals import INBOUND
from storage.reading.transaction import Transaction
from storage.rollups.groups import Level
from storage.rollups.names import hash_of

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# What rollups cannot tell apart.
_UNKNOWN: Final = ("status", "path", "user_id", "error_fingerprint", "min_duration_ms")
_STEP: Final = "floor(extract(epoch FROM start) / %(step_s)s)::bigint - %(first_step)s"
_NO_STEP: Final = "0::bigint"
_HEAD: Final = struct.Struct(">h iq i")  # of a row of binary COPY: how many values, their lengths, and the step
_STORED: Final = """
SELECT {step}, groups FROM {table} WHERE project = %(project)s AND level = %(level)s
"""
_BETWEEN: Final = "AND start >= %(start)s AND start < %(end)s"
# With those that others were counted under, whatever their names are.
_NAMES: Final = """
SELECT number, method, host, endpoint FROM rollup_names
 WHERE project = %(project)s AND (endpoint IS NULL) = (%(level)s = 1)
   AND ({given} OR coalesce(endpoint, host) = %(other)s)
"""
_WHERE_GIVEN: Final = {
    "method": "method = %(method)s",
    "host": "host = %(host)s",
    "endpoint": "endpoint = %(endpoint)s",
}
_OF_NUMBERS: Final = """
SELECT number, method, host, endpoint FROM rollup_names WHERE project = %(project)s AND number = ANY(%(numbers)s)
"""
_OF_HASHES: Final = """
SELECT number, method, host, endpoint FROM rollup_names WHERE project = %(project)s AND hash = ANY(%(hashes)s)
"""
_LAST: Final = "SELECT coalesce(max(number), 0) FROM rollup_names WHERE project = %(project)s"
_KINDS: Final = 32
_DIRECTIONS: Final = {None: 0xFFFFFFFF, "outbound": 0x0000FFFF, "inbound": 0xFFFF0000}

# The number of the step that it is about, from the first one of the range, and stored groups.
StoredGroups = tuple[int | None, bytes]


class Named(NamedTuple):
    """Names by their numbers: those that a filter selects, and those that others were counted under."""

    selected: Mapping[int, Name]
    others: Collection[int]


def can_tell(rows: Filter, slow_ms: int) -> bool:
    """Tell whether rollups know what a filter asks for."""
    return slow_ms == SLOW_MS and all(getattr(rows, name) is None for name in _UNKNOWN)


def moment_of(microseconds: int) -> datetime:
    """Return a time that counts from 2000-01-01."""
    return _EPOCH + microseconds * _MICROSECOND


def microseconds_of(moment: datetime) -> int:
    """Return a time as microseconds since 2000-01-01."""
    return (moment - _EPOCH) // _MICROSECOND


def level_of(rows: Filter, group_by: GroupBy) -> Level:
    """Return the level that tells apart what is asked for."""
    if group_by is GroupBy.PATH or rows.endpoint is not None:
        return Level.ENDPOINT
    if group_by is GroupBy.HOST or rows.host is not None or rows.method is not None:
        return Level.HOST
    return Level.PROJECT


def kinds_of(rows: Filter) -> int:
    """Return directions and status classes that a filter selects, a bit for each kind of stored groups."""
    kinds = _DIRECTIONS[rows.direction]
    if rows.status_group is not None:
        of_classes = sum(1 << of_class for of_class in status_classes(rows.status_group))
        kinds &= of_classes | of_classes << INBOUND
    return kinds


async def read_stored(
    transaction: Transaction, rows: Filter, group_by: GroupBy, pieces: Sequence[Piece], *, step_s: int, first_step: int
) -> list[StoredGroups]:
    """Return the stored groups of all pieces, of which there is one at least."""
    is_by_step = group_by is GroupBy.STEP
    values: dict[str, Any] = {
        "project": rows.project, "level": int(level_of(rows, group_by)), "step_s": step_s, "first_step": first_step,
    }  # fmt: skip
    selections = []
    for number, piece in enumerate(pieces):
        assert piece.span is not None  # noqa: S101 - pieces of rollups have one
        query = _STORED.format(table=piece.span.table, step=_STEP if is_by_step else _NO_STEP)
        selections.append(query + numbered(_BETWEEN, number))
        values |= {f"start_{number}": moment_of(piece.start_us), f"end_{number}": moment_of(piece.end_us)}
    found: list[StoredGroups] = []

    def take(row: bytes) -> None:
        _, _, step, _ = _HEAD.unpack_from(row)
        found.append((step if is_by_step else None, bytes(row[_HEAD.size :])))

    await transaction.copy(f"COPY ({' UNION ALL '.join(selections)}) TO STDOUT (FORMAT BINARY)", values, take)
    return found


async def read_names(transaction: Transaction, rows: Filter, level: Level) -> Named:
    """Return the names of a level that a filter selects."""
    given = [condition for name, condition in _WHERE_GIVEN.items() if getattr(rows, name) is not None]
    query = _NAMES.format(given=" AND ".join(given) or "true")
    values: dict[str, Any] = {name: getattr(rows, name) for name in (*_WHERE_GIVEN, "project")}
    found = await transaction.binary_rows(query, {**values, "level": int(level), "other": OTHER})
    wanted = {name: getattr(rows, name) for name in _WHERE_GIVEN if getattr(rows, name) is not None}
    names = {number: texts for number, *texts in found}
    return Named(
        {
            number: (method, host, endpoint)
            for number, (method, host, endpoint) in names.items()
            if wanted.items() <= {"method": method, "host": host, "endpoint": endpoint}.items()
        },
        [number for number, (_, host, endpoint) in names.items() if OTHER in (host, endpoint)],
    )


async def find_names(
    transaction: Transaction, project: int, names: ProjectNames, numbers: Sequence[int]
) -> dict[int, Name]:
    """Return what numbers of the rollups stand for."""
    missing = [number for number in numbers if number not in names.rolled_up]
    if missing:
        found = await transaction.binary_rows(_OF_NUMBERS, {"project": project, "numbers": missing})
        names.rolled_up |= {number: (method, host, endpoint) for number, method, host, endpoint in found}
    return {number: names.rolled_up[number] for number in numbers}


async def find_numbers(
    transaction: Transaction, project: int, names: ProjectNames, numbers: Collection[int]
) -> Mapping[int, int]:
    """Return numbers of the rollups by those of this process; names that have none get such as are not in use."""
    known = names.numbers_rolled_up
    missing = [number for number in numbers if number not in known]
    if not missing:
        return known
    hashes = [hash_of(*names.name_of(number)) for number in missing]
    found = await transaction.binary_rows(_OF_HASHES, {"project": project, "hashes": hashes})
    known |= {names.number_of((method, host, endpoint)): number for number, method, host, endpoint in found}
    [(last,)] = await transaction.binary_rows(_LAST, {"project": project})
    of_known = {number: known[number] for number in numbers if number in known}
    first_unused = max(last, *of_known.values()) + 1 if of_known else last + 1  # another query may know later names
    unknown = [number for number in missing if number not in known]
    return of_known | {number: unused for unused, number in enumerate(unknown, first_unused)}
