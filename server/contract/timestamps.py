"""RFC 3339 date-times to microseconds since 1970-01-01 UTC."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from operator import floordiv, sub

import msgspec

from server.contract.rules import NO_OFFSET, NOT_A_DATE_TIME, NOT_BLANK, Violation

# RFC 3339, 5.6: ASCII digits; t and z may be lower case.
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_LONGEST_COMMON_FORM = len("2026-03-31T12:00:00.000000Z")

# 0001-01-01T00:00:00Z up to, not including, 10000-01-01T00:00:00Z: the range of google.protobuf.Timestamp.
EARLIEST_US = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
END_US = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND + _DAY_US


def parse_rfc3339(text: str) -> int | Violation:
    """Return the microseconds of an RFC 3339 date-time, further digits cut off; a Violation when it is none."""
    microseconds = _parse(text)
    if microseconds is not None:
        return microseconds
    if not text.strip():
        return Violation(NOT_BLANK)
    return NOT_A_DATE_TIME if _parse(f"{text}Z") is None else NO_OFFSET


def parse_rfc3339_column(values: Sequence[str]) -> Sequence[int | Violation]:
    """Return `parse_rfc3339` of each value, much faster for the form that nearly every sender uses.

    Raises TypeError when a value is not a string.
    """
    text = "".join(values)
    is_common = (
        text.count("T") == text.count("Z") == len(values) and max(map(len, values), default=0) <= _LONGEST_COMMON_FORM
    )
    if is_common:
        try:
            # Of this form msgspec accepts exactly RFC 3339, less the leap seconds.
            instants = msgspec.convert(values, list[datetime])
        except msgspec.ValidationError:
            pass
        else:
            return list(map(floordiv, map(sub, instants, repeat(_EPOCH)), repeat(_MICROSECOND)))
    return [parse_rfc3339(text) for text in values]


def _parse(text: str) -> int | None:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    day, minute, second, fraction, offset = match.groups()
    # RFC 3339 has leap seconds, datetime has none: 23:59:60 UTC is the first second of the next day, as in Postgres.
    is_leap = second == "60"
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}:{'59' if is_leap else second}{offset.upper()}")
    except ValueError:
        return None
    whole_us = (moment - _EPOCH) // _MICROSECOND + is_leap * _SECOND_US
    if is_leap and whole_us % _DAY_US:
        return None
    result = whole_us + int((fraction or "0")[:6].ljust(6, "0"))
    return result if EARLIEST_US <= result < END_US else None
