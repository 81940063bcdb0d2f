"""Cursors of the list: where a page ends, in a form that clients need not understand."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from storage.reading.rows import Position

_FORM = struct.Struct(">Bq16s")
_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode_cursor(position: Position) -> str:
    """Return the cursor of a position."""
    microseconds = (position.timestamp - _EPOCH) // _MICROSECOND
    return urlsafe_b64encode(_FORM.pack(_VERSION, microseconds, position.id.bytes)).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position | None:
    """Return the position of a cursor, None when it is none."""
    try:
        version, microseconds, identifier = _FORM.unpack(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        timestamp = _EPOCH + timedelta(microseconds=microseconds)
    except (ValueError, struct.error, OverflowError):
        return None
    return Position(timestamp, UUID(bytes=identifier)) if version == _VERSION else None
