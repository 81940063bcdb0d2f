"""From rows, as Postgres copies them out or is sent them, to stored groups. The reference for the compiled code."""

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple, Protocol, TypeAlias

from storage.endpoints import endpoint_of
from storage.rollups.groups import DAY_US, MINUTE_US, SLOW_MS, DayName, GroupSums, Level, Span, Stored, Times
from storage.rollups.stored_groups import encode_groups, key_of, kind_of
from storage.sketch import bucket_of
from storage.writing.http_requests import HTTP_REQUESTS, LONG_PREFIX

# In the order in which an aggregator reads them. Values that have two columns come from the one that is not NULL;
# both are only in rows that were put in by SQL.
COLUMNS: Final = """
    project, "timestamp", is_inbound, status_code, coalesce(duration_ms, long_duration_ms, 0),
    coalesce(request_size, long_request_size, 0), coalesce(response_size, long_response_size, 0), method, host, path
"""
# The same, but NULL for a figure that is in the other column. Those are the last of a row, which Postgres takes apart
# from its begin: up to a fifth more CPU.
NARROW_COLUMNS: Final = """
    project, "timestamp", is_inbound, status_code, duration_ms, request_size, response_size, method, host, path
"""
# What a row that is written has to have; a figure may be in the column of long ones instead.
SUMMED_COLUMNS: Final = (
    "project", "timestamp", "is_inbound", "status_code", "duration_ms", "request_size", "response_size",
    "method", "host", "path",
)  # fmt: skip
IS_WIDE: Final = "(duration_ms IS NULL OR request_size IS NULL OR response_size IS NULL)"
HEADER_SIZE: Final = 19  # of binary COPY; its first row comes in the same message
END_SIZE: Final = 2  # of the message that follows the last row
_NUMBERS = struct.Struct(">h ii iq i? ih")
_FIGURES: Final = 3
_VALUES: Final = 6  # figures and texts
_NUMBERS_FIRST: Final = 4  # of SUMMED_COLUMNS, before figures and texts
_COUNT = struct.Struct(">h")
_LENGTH = struct.Struct(">i")
_NULL: Final = -1


# PGconn.get_copy_data: asked with 1, it returns the size of a row and the row, a size of 0 if none has arrived yet.
GetMessage = Callable[[int], tuple[int, memoryview]]


Bytes: TypeAlias = bytes | bytearray | memoryview


class Portion(NamedTuple):
    """What became of some rows."""

    added: int
    refused: int
    size: int  # of the message that was seen last, as GetMessage tells it


class Aggregator(Protocol):
    """Sums up rows."""

    def add(self, row: bytes | memoryview) -> bool:
        """Add a row in binary COPY form, without the header; do nothing and return False if a figure is NULL."""

    def add_all(self, get_message: GetMessage, most: int) -> Portion:
        """Take at most so many rows as they arrive, refused ones included, until none is there or no more will come."""

    def add_written(self, rows: Bytes, begin: int, most: int) -> tuple[int, int]:
        """Add at most so many of the rows that were sent to Postgres, in the form of HTTP_REQUESTS, from a byte on.

        Return how many it were, and where the next one begins.
        """

    def names(self) -> Mapping[DayName, int]:
        """Return the names that the rows have, and how many have each; no row may be added afterwards."""

    def stored(self, hosts: Sequence[int], endpoints: Sequence[int], times: Times) -> Sequence[Stored]:
        """Return the rows of all tables. Each of `names`, in their order, has a number as host and one as endpoint."""


class _RowGroup(NamedTuple):
    minute_us: int
    kind: int
    name: DayName


class ReferenceAggregator:
    """Sums up rows in pure Python."""

    def __init__(self) -> None:
        self._groups: defaultdict[_RowGroup, GroupSums] = defaultdict(GroupSums)
        self._names: Counter[DayName] = Counter()

    def add(self, row: bytes | memoryview) -> bool:
        """See Aggregator."""
        _, _, project, _, microseconds, _, is_inbound, _, status_code = _NUMBERS.unpack_from(row)
        values = [value for value in _values(row) if value is not None]
        if len(values) < _VALUES:
            return False
        self._sum(project, microseconds, is_inbound, status_code, values)
        return True

    def _sum(
        self, project: int, microseconds: int, is_inbound: bool, status_code: int, values: Sequence[Bytes]
    ) -> None:
        # Only SQL can store a figure below 0.
        duration_ms, request_bytes, response_bytes = (
            max(0, int.from_bytes(value, signed=True)) for value in values[:_FIGURES]
        )
        method, host, path = (str(value, "utf-8") for value in values[_FIGURES:])
        minute_us = microseconds // MINUTE_US * MINUTE_US
        name = DayName(project, minute_us // DAY_US, method, host, endpoint_of(path))
        self._names[name] += 1
        self._groups[_RowGroup(minute_us, kind_of(is_inbound, status_code), name)].add(
            GroupSums(1, duration_ms > SLOW_MS, duration_ms, request_bytes, response_bytes, {bucket_of(duration_ms): 1})
        )

    def add_all(self, get_message: GetMessage, most: int) -> Portion:
        """See Aggregator."""
        counts = [0, 0]
        size = 0
        while sum(counts) < most:
            size, row = get_message(1)
            if size <= END_SIZE:
                break
            counts[self.add(row)] += 1
        refused, added = counts
        return Portion(added, refused, size)

    def add_written(self, rows: Bytes, begin: int, most: int) -> tuple[int, int]:
        """See Aggregator."""
        added = 0
        while added < most and begin < len(rows):
            row, begin = _written_row(rows, begin)
            numbers = [int.from_bytes(row[name], signed=True) for name in SUMMED_COLUMNS[:_NUMBERS_FIRST]]
            project, microseconds, is_inbound, status_code = numbers
            values = [row[name] for name in SUMMED_COLUMNS[_NUMBERS_FIRST:]]
            self._sum(project, microseconds, bool(is_inbound), status_code, values)
            added += 1
        return added, begin

    def names(self) -> Mapping[DayName, int]:
        """See Aggregator."""
        return self._names

    def stored(self, hosts: Sequence[int], endpoints: Sequence[int], times: Times) -> Sequence[Stored]:
        """See Aggregator."""
        tables: defaultdict[tuple[int, int, int, int], defaultdict[int, GroupSums]]
        tables = defaultdict(lambda: defaultdict(GroupSums))
        numbers = dict(zip(self._names, zip(repeat(0), hosts, endpoints), strict=True))
        for (minute_us, kind, name), sums in self._groups.items():
            for span in spans_of(minute_us, times):
                start_us = minute_us // span.length_us * span.length_us
                for level, number in zip(Level, numbers[name], strict=True):
                    tables[span, name.project, level, start_us][key_of(number, kind)].add(sums)
        return [Stored(*place, data) for place in sorted(tables) for data in encode_groups(tables[place])]


def spans_of(minute_us: int, times: Times) -> Iterator[Span]:
    """Yield the tables that have that minute."""
    if times.kept_from_us is not None and minute_us < times.kept_from_us:
        return
    if minute_us >= times.minutes_from_us:
        yield Span.MINUTE
    if minute_us < times.hours_until_us:
        yield Span.HOUR
    if minute_us < times.days_until_us:
        yield Span.DAY


def _values(row: bytes | memoryview) -> Iterator[bytes | memoryview | None]:
    """Yield the figures, each as wide as its column, and the texts; None for NULL."""
    offset = _NUMBERS.size
    for _ in range(_VALUES):
        (length,) = _LENGTH.unpack_from(row, offset)
        offset += _LENGTH.size
        if length == _NULL:
            yield None
        else:
            yield row[offset : offset + length]
            offset += length


def _written_row(rows: Bytes, begin: int) -> tuple[dict[str, Bytes], int]:
    """Return the values that the row from that byte on has, by column, and where it ends."""
    (count,) = _COUNT.unpack_from(rows, begin)
    if count != len(HTTP_REQUESTS.form.columns):
        raise ValueError("a row has not the columns that are written")
    offset = begin + _COUNT.size
    row: dict[str, Bytes] = {}
    for name, _ in HTTP_REQUESTS.form.columns:
        (length,) = _LENGTH.unpack_from(rows, offset)
        offset += _LENGTH.size
        if length != _NULL:
            row[name.removeprefix(LONG_PREFIX)] = rows[offset : offset + length]
            offset += length
    return row, offset
