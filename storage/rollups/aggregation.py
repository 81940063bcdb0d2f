"""From rows to groups: sums over rows as Postgres copies them out. The reference for the compiled code."""

import struct
from typing import Final, Protocol

from storage.endpoints import endpoint_of
from storage.rollups.groups import MINUTE_US, SLOW_MS, GroupSums, RowGroup, RowGroups
from storage.sketch import bucket_of

# In the order in which an aggregator reads them. Values that have two columns come from the one that is not NULL.
COLUMNS: Final = """
    project, "timestamp", is_inbound, status_code, coalesce(duration_ms, long_duration_ms),
    coalesce(request_size, long_request_size), coalesce(response_size, long_response_size), method, host, path
"""
HEADER_SIZE: Final = 19  # of binary COPY; its first row comes in the same message
_NUMBERS = struct.Struct(">h ii iq i? ih iq iq iq")
_LENGTH = struct.Struct(">i")


class Aggregator(Protocol):
    """Sums up rows."""

    def add(self, row: bytes) -> None:
        """Add a row in binary COPY form, without the header."""

    def groups(self) -> RowGroups:
        """Return the sums over all rows that were added."""


class ReferenceAggregator:
    """Sums up rows in pure Python."""

    def __init__(self) -> None:
        self._groups: dict[RowGroup, GroupSums] = {}

    def add(self, row: bytes) -> None:
        """Add a row in binary COPY form, without the header."""
        (
            _,
            _,
            project,
            _,
            microseconds,
            _,
            is_inbound,
            _,
            status_code,
            _,
            duration_ms,
            _,
            request_bytes,
            _,
            response_bytes,
        ) = _NUMBERS.unpack_from(row)
        method, host, path = _texts(row, _NUMBERS.size)
        minute_us = microseconds // MINUTE_US * MINUTE_US
        group = RowGroup(project, minute_us, is_inbound, status_code // 100, method, host, endpoint_of(path))
        sums = self._groups.get(group)
        if sums is None:
            sums = self._groups[group] = GroupSums()
        sums.requests += 1
        sums.slow += duration_ms > SLOW_MS
        sums.duration_ms += duration_ms
        sums.request_bytes += request_bytes
        sums.response_bytes += response_bytes
        bucket = bucket_of(duration_ms)
        sums.buckets[bucket] = sums.buckets.get(bucket, 0) + 1

    def groups(self) -> RowGroups:
        """Return the sums over all rows that were added."""
        return self._groups


def _texts(row: bytes, offset: int) -> tuple[str, str, str]:
    texts = []
    for _ in range(3):
        (length,) = _LENGTH.unpack_from(row, offset)
        offset += _LENGTH.size
        texts.append(str(row[offset : offset + length], "utf-8"))
        offset += length
    return texts[0], texts[1], texts[2]
