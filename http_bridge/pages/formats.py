"""Figures in the units that people read: 1.2 k/s, 340 ms, 5.1 MB, 0.42 %."""

import math
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

MOST_CHARACTERS: Final = 160  # of a text in a table

_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E")
_NONE: Final = "\u2013"
_SECOND_MS: Final = 1000
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_MOST_WHOLE: Final = 10_000  # counts below are told to the last digit
_LEAST_SHOWN: Final = 0.005


def count(number: float | None) -> str:
    """Return a number of things: 9,876 or 12.3 k."""
    if number is None:
        return _NONE
    if abs(number) < _MOST_WHOLE:
        return f"{number:,.0f}" if number == int(number) else _digits(number, 4)
    scaled, prefix = _scale(number)
    return f"{_digits(scaled, 3)} {prefix}".rstrip()


def rate(per_second: float | None) -> str:
    """Return a number of things a second: 1.2 k/s."""
    if per_second is None:
        return _NONE
    if 0 < per_second < _LEAST_SHOWN:
        return f"{_digits(per_second * _HOUR_S, 2)}/h"
    scaled, prefix = _scale(per_second)
    return f"{_digits(scaled, 2)} {prefix}".rstrip() + "/s"


def duration(milliseconds: float | None) -> str:
    """Return milliseconds as 340 ms, 1.2 s, 2 min 5 s, 3 h 4 min or 2 d 1 h."""
    if milliseconds is None:
        return _NONE
    if round(milliseconds) < _SECOND_MS:
        return f"{_digits(milliseconds, 2)} ms"
    seconds = milliseconds / _SECOND_MS
    if round(seconds) < _MINUTE_S:
        return f"{_digits(seconds, 2)} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return _two(whole, (_MINUTE_S, "min"), (1, "s"))
    if whole < _DAY_S:
        return _two(whole, (_HOUR_S, "h"), (_MINUTE_S, "min"))
    return _two(whole, (_DAY_S, "d"), (_HOUR_S, "h"))


def size(octets: float | None) -> str:
    """Return bytes as 512 B or 5.1 MB."""
    if octets is None:
        return _NONE
    scaled, prefix = _scale(octets)
    return f"{_digits(scaled, 2)} {prefix}B"


def percent(value: float | None) -> str:
    """Return a rate that is in per cent already: 0.42 %."""
    if value is None:
        return _NONE
    return f"{_digits(value, 2)} %"


def moment(value: datetime) -> str:
    """Return an instant for people, in UTC: 2026-03-31 12:00:00.123 UTC."""
    value = value.astimezone(UTC)
    fraction = f".{value.microsecond // 1000:03}" if value.microsecond else ""
    return f"{value:%Y-%m-%d %H:%M:%S}{fraction} UTC"


def iso(value: datetime) -> str:
    """Return an instant as RFC 3339, to the microsecond where it has some."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def visible(text: str) -> str:
    """Return text of others with escapes in place of what has no form, and of what turns or hides other text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def bounded(text: str) -> str:
    """Return text of others for a line of a table: visible, and cut when it is very long."""
    return visible(text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…")


def phrase(code: int) -> str:
    """Return what a status code is called (RFC 9110, 15), nothing for one that is not registered."""
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return ""


def _scale(number: float) -> tuple[float, str]:
    """Return a number below a thousand, and the prefix of its unit."""
    prefixes = iter(_PREFIXES)
    prefix = next(prefixes)
    while abs(number) >= 999.5 and (following := next(prefixes, None)) is not None:
        number, prefix = number / 1000, following
    return number, prefix


def _two(whole: int, first: tuple[int, str], second: tuple[int, str]) -> str:
    """Return seconds in two units; the smaller one is left out where it is 0."""
    parts = ((whole // first[0], first[1]), (whole % first[0] // second[0], second[1]))
    return " ".join(f"{number:,} {unit}" for number, unit in parts if number)


def _digits(number: float, digits: int) -> str:
    """Return a number with so many significant digits, or all before the point, without zeros at the end."""
    before = math.floor(math.log10(abs(number))) + 1 if number else 0
    text = f"{number:,.{max(0, digits - before)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
