"""The stored form of groups of one project, level and span of time: column by column, as narrow as the values allow.

First comes the number of groups (4 bytes), then the columns: the step from the key of the group before, requests, slow
ones, sums of duration and bytes, and how many buckets a group has; then, of all groups one after the other, the numbers
of the buckets and their counts. A column is a byte that says how wide its values are (0: all are 0), and the values,
little-endian. A group whose sums exceed 64 bits comes several times. This is the reference for the compiled code.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from storage.rollups.groups import GroupSums

LARGEST: Final = 2**64 - 1
# Of one stored value; more are stored in several rows.
MOST_GROUPS: Final = 8_192
MOST_BUCKETS: Final = 65_536
KIND_BITS: Final = 5
# Status codes are below 600, but nothing keeps others out of the table.
MOST_CLASS: Final = 15

_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_COUNT: Final = struct.Struct("<I")
_COLUMNS: Final = 7  # with a value for each group


def kind_of(is_inbound: bool, status_code: int) -> int:
    """Return direction and status class as one number."""
    return is_inbound << 4 | min(max(status_code // 100, 0), MOST_CLASS)


def key_of(number: int, kind: int) -> int:
    """Return the key of a group: the number of its name, and its kind."""
    return number << KIND_BITS | kind


def encode_groups(groups: Mapping[int, GroupSums]) -> Iterator[bytes]:
    """Yield the stored form of groups by key, in parts that are not too large."""
    rows: list[Sequence[int]] = []
    buckets: list[int] = []
    counts: list[int] = []
    last = 0
    for key in sorted(groups):
        sums = groups[key]
        if rows and (len(rows) >= MOST_GROUPS or len(buckets) + len(sums.buckets) > MOST_BUCKETS):
            yield _encode(rows, buckets, counts)
            rows, buckets, counts, last = [], [], [], 0
        rest = [sums.requests, sums.slow, sums.duration_ms, sums.request_bytes, sums.response_bytes]
        of_group = len(sums.buckets)
        while True:
            part = [min(value, LARGEST) for value in rest]
            rows.append((key - last, *part, of_group))
            rest = [value - stored for value, stored in zip(rest, part, strict=True)]
            last, of_group = key, 0
            if not any(rest):
                break
        for bucket in sorted(sums.buckets):
            buckets.append(bucket)
            counts.append(sums.buckets[bucket])
    if rows:
        yield _encode(rows, buckets, counts)


def decode_groups(data: bytes) -> Iterator[tuple[int, GroupSums]]:
    """Yield the groups of a stored value with their keys."""
    columns = _Columns(data)
    steps, *sums, of_group = (columns.read(columns.groups) for _ in range(_COLUMNS))
    total = sum(of_group)
    buckets, counts = columns.read(total), columns.read(total)
    first = 0
    for index, key in enumerate(accumulate(steps)):
        end = first + of_group[index]
        stored = GroupSums(buckets=dict(zip(buckets[first:end], counts[first:end], strict=True)))
        stored.requests, stored.slow, stored.duration_ms, stored.request_bytes, stored.response_bytes = (
            column[index] for column in sums
        )
        yield key, stored
        first = end


def numbers_in(data: bytes) -> set[int]:
    """Return the numbers of the names in a stored value."""
    columns = _Columns(data)
    return {key >> KIND_BITS for key in accumulate(columns.read(columns.groups))}


def merge_groups(stored: Iterable[bytes]) -> list[bytes]:
    """Return the sums of several stored values."""
    groups: dict[int, GroupSums] = {}
    for data in stored:
        for key, sums in decode_groups(data):
            groups.setdefault(key, GroupSums()).add(sums)
    return list(encode_groups(groups))


class _Columns:
    """Reads the columns of a stored value, one after the other."""

    def __init__(self, data: bytes) -> None:
        (self.groups,) = _COUNT.unpack_from(data)
        self._data = data
        self._at = _COUNT.size

    def read(self, count: int) -> Sequence[int]:
        width = self._data[self._at]
        self._at += 1
        if width == 0:
            return (0,) * count
        values = struct.unpack_from(f"<{count}{_CODES[width]}", self._data, self._at)
        self._at += count * width
        return values


def _encode(rows: Sequence[Sequence[int]], buckets: Sequence[int], counts: Sequence[int]) -> bytes:
    columns = (*zip(*rows, strict=True), buckets, counts)
    return _COUNT.pack(len(rows)) + b"".join(map(_column, columns))


def _column(values: Sequence[int]) -> bytes:
    highest = max(values, default=0)
    width = next(width for width in (0, 1, 2, 4, 8) if highest < 2 ** (8 * width))
    return bytes((width,)) + (struct.pack(f"<{len(values)}{_CODES[width]}", *values) if width else b"")
