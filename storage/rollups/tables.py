"""Writing rows to the tables of rollups."""

import struct
from collections.abc import Sequence
from typing import Final

import psycopg

from storage.rollups.groups import Span, Stored
from storage.rollups.state import EPOCH_S

# What is read of a row: the fields of Stored but for the span.
STORED: Final = f"project, level, ((extract(epoch FROM start) - {EPOCH_S}) * 1000000)::bigint, groups"
_COPY = "COPY {table} (start, project, level, groups) FROM STDIN (FORMAT BINARY)"
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_ROW = struct.Struct(">h iq ii ih i")


def write_stored(connection: psycopg.Connection, rows: Sequence[Stored]) -> None:
    """Append rows to the tables of their spans. Raises psycopg.Error."""
    for span in Span:
        of_span = [_encode(row) for row in rows if row.span == span]
        if of_span:
            with connection.cursor() as cursor, cursor.copy(_COPY.format(table=span.table).encode()) as copy:
                copy.write(_HEADER + b"".join(of_span) + _TRAILER)


def _encode(row: Stored) -> bytes:
    head = _ROW.pack(4, 8, row.start_us, 4, row.project, 2, row.level, len(row.groups))
    return head + row.groups
