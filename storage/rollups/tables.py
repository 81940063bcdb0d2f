"""The tables of rollups: writing groups, and taking stored rows out again."""

import struct
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg.rows import TupleRow

from storage.rollups.groups import Group, Groups, GroupSums, Span
from storage.rollups.state import EPOCH_S

LARGEST: Final = 2**63 - 1  # of a bigint; a sum beyond is stored in several rows
STORED: Final = f"""
    project, level, ((extract(epoch FROM start) - {EPOCH_S}) * 1000000)::bigint, is_inbound, status_class,
    method, host, endpoint, requests, slow, duration_ms, request_bytes, response_bytes, buckets
"""
_GROUP_SIZE = 8
_COPY = """
COPY {table} (start, requests, slow, duration_ms, request_bytes, response_bytes,
              project, level, status_class, is_inbound, method, host, endpoint, buckets) FROM STDIN (FORMAT BINARY)
"""
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NUMBERS = struct.Struct(">h iq iq iq iq iq iq ii ih ih i?")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)


def write_groups(connection: psycopg.Connection, span: Span, groups: Groups) -> None:
    """Append rows to the table of a span. Raises psycopg.Error."""
    if not groups:
        return
    with connection.cursor() as cursor, cursor.copy(_COPY.format(table=span.table).encode()) as copy:
        copy.write(_HEADER)
        copy.write(b"".join(row for group in groups.items() for row in _encode(*group)))
        copy.write(_TRAILER)


def add_stored(groups: Groups, row: TupleRow, start_us: int | None = None) -> None:
    """Add a row with the columns STORED to the groups, as one of the span that begins at `start_us` if given."""
    group: Group = Group._make(row[:_GROUP_SIZE])
    if start_us is not None:
        group = group._replace(start_us=start_us)
    sums = groups.get(group)
    if sums is None:
        sums = groups[group] = GroupSums()
    numbers: Any = row[_GROUP_SIZE:-1]
    sums.add_stored(numbers, row[-1])


def _encode(group: Group, sums: GroupSums) -> Iterator[bytes]:
    rest = (sums.requests, sums.slow, sums.duration_ms, sums.request_bytes, sums.response_bytes)
    texts = _encode_text(group.method) + _encode_text(group.host) + _encode_text(group.endpoint)
    buckets = sums.stored_buckets()
    while True:
        part = [min(number, LARGEST) for number in rest]
        yield b"".join(
            (
                _NUMBERS.pack(
                    14, 8, group.start_us, 8, part[0], 8, part[1], 8, part[2], 8, part[3], 8, part[4],
                    4, group.project, 2, group.level, 2, group.status_class, 1, group.is_inbound,
                ),
                texts,
                _LENGTH.pack(len(buckets)),
                buckets,
            )
        )  # fmt: skip
        rest = tuple(number - stored for number, stored in zip(rest, part, strict=True))  # type: ignore[assignment]
        if not any(rest):
            return
        buckets = b""


def _encode_text(text: str | None) -> bytes:
    if text is None:
        return _NULL
    data = text.encode()
    return _LENGTH.pack(len(data)) + data
