"""The rules for the fields of an item (the ingest contract), each in one place for both protocols.

A rule can say of a whole column at once that all of it is right, which nearly always is so and costs little. Only
when it cannot are the values examined one by one, to say what is wrong with which.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

NOT_BLANK = "must not be blank"
NOT_NULL = "must not be null"
MAX_INT64 = 2**63 - 1

# RFC 9110, 5.6.2.
_TCHARS = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUERY_OR_FRAGMENT = re.compile(r"[?#].*", re.DOTALL)
DIRECTIONS = ("inbound", "outbound")
_COMMON_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_INT = {int}
_STATUS_CODES = frozenset({0, *range(100, 600)})

Schema = Mapping[str, object]


class Violation(NamedTuple):
    """A value breaks a rule; `message` says which."""

    message: str


NOT_A_DATE_TIME = Violation("must be a valid ISO-8601 date-time")
NO_OFFSET = Violation("must be a valid ISO-8601 date-time with Z or an offset")


class Rule(Protocol):
    """The rule for the values of one field. `schema` is the same in JSON Schema, as far as that goes."""

    schema: Schema
    required: bool

    def accept(self, column: Sequence[object]) -> Sequence[object] | None:
        """Return the values as they are stored; None when some may be wrong. `column` is never empty."""

    def examine(self, value: object) -> object:
        """Return one value as it is stored, or a Violation."""


class Text:
    """A string without NUL of at most `longest` characters, not blank unless it is optional."""

    def __init__(self, longest: int, *, required: bool = True) -> None:
        """`longest` is in characters."""
        self.required = required
        self.longest = longest
        self.schema: Schema = {"type": "string", "pattern": self._pattern(), "maxLength": longest}

    def _pattern(self) -> str:
        return r"^(?=[\s\S]*\S)[^\u0000]*$" if self.required else r"^[^\u0000]*$"

    def accept(self, column: Sequence[object]) -> Sequence[object] | None:
        """See Rule."""
        return None if self._join(column) is None else column

    def _join(self, column: Sequence[object]) -> str | None:
        """Return all values with NUL between them when all are right, else None."""
        values: Sequence[Any] = column if self.required else [value for value in column if value is not None]
        try:
            text = "\0".join(values)
        except TypeError:
            return None
        is_right = (
            text.count("\0") <= max(0, len(values) - 1)
            and (len(text) <= self.longest or max(map(len, values)) <= self.longest)
            and (not self.required or ("" not in values and not _has_blank(text, values)))
        )
        return text if is_right else None

    def examine(self, value: object) -> object:
        """See Rule."""
        if value is None:
            return Violation(NOT_BLANK) if self.required else None
        if not isinstance(value, str):
            return Violation("must be a string")
        if "\0" in value:
            return Violation("must not contain NUL characters")
        if self.required and not value.strip():
            return Violation(NOT_BLANK)
        if len(value) > self.longest:
            return Violation(f"size must be between 1 and {self.longest}")
        return value


class Path(Text):
    """A path; its query and fragment may hold secrets, so they are cut off before anything else is done."""

    def __init__(self, longest: int) -> None:
        """`longest` is in characters, without what is cut off."""
        super().__init__(longest)
        self.schema = {"type": "string", "pattern": self._pattern()}

    def _pattern(self) -> str:
        return rf"^(?=[^?#]*[^\s?#])[^?#\u0000]{{1,{self.longest}}}([?#][^\u0000]*)?$"

    def accept(self, column: Sequence[object]) -> Sequence[object] | None:
        """See Rule."""
        text = self._join(column)
        return None if text is None or "?" in text or "#" in text else column

    def examine(self, value: object) -> object:
        """See Rule."""
        if isinstance(value, str) and "\0" not in value:
            value = _QUERY_OR_FRAGMENT.sub("", value)
        return super().examine(value)


class Method(Text):
    """An HTTP method: a token (RFC 9110, 9.1), stored in upper case."""

    def _pattern(self) -> str:
        return f"^{_TCHARS}$"

    def accept(self, column: Sequence[object]) -> Sequence[object] | None:
        """See Rule."""
        return column if _are_among(_COMMON_METHODS, column) else None

    def examine(self, value: object) -> object:
        """See Rule."""
        text = super().examine(value)
        if not isinstance(text, str):
            return text
        return text.upper() if re.fullmatch(_TCHARS, text) else Violation("must be a valid HTTP method")


class Direction:
    """`inbound` or `outbound`."""

    schema: Schema = {"type": "string", "enum": DIRECTIONS}
    required = True

    def accept(self, column: Sequence[object]) -> Sequence[object] | None:
        """See Rule."""
        return column if _are_among(frozenset(DIRECTIONS), column) else None

    def examine(self, value: object) -> object:
        """See Rule."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return Violation(NOT_BLANK)
        if not isinstance(value, str) or value not in DIRECTIONS:
            return Violation('must match "inbound|outbound"')
        return value


class Integer:
    """An integer from 0 to what a bigint holds. 1.0 is an integer (JSON has one number type), true is not."""

    schema: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_INT64}
    required = True

    def accept(self, column: Sequence[object]) -> Sequence[object] | None:
        """See Rule."""
        integers: Sequence[Any] = column
        return column if {*map(type, column)} == _INT and self._in_range(integers) else None

    def examine(self, value: object) -> object:
        """See Rule."""
        if value is None:
            return Violation(NOT_NULL)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            return Violation("must be an integer")
        return value if self._in_range([value]) else Violation(self._range_message(value))

    def _in_range(self, values: Sequence[int]) -> bool:
        return min(values) >= 0 and max(values) <= MAX_INT64

    def _range_message(self, value: int) -> str:
        if value < 0:
            return "must be greater than or equal to 0"
        return f"must be less than or equal to {MAX_INT64}"


class StatusCode(Integer):
    """0 when no response came, else an HTTP status code."""

    schema: Schema = {"type": "integer", "anyOf": [{"const": 0}, {"minimum": 100, "maximum": 599}]}

    def _in_range(self, values: Sequence[int]) -> bool:
        return _STATUS_CODES.issuperset(values)

    def _range_message(self, value: int) -> str:
        return "must be 0 or between 100 and 599"


class Timestamp:
    """A date-time, by now in microseconds, or the Violation that its decoder found."""

    schema: Schema = {"type": "string", "format": "date-time"}
    required = True

    def accept(self, column: Sequence[object]) -> Sequence[object] | None:
        """See Rule."""
        return column if {*map(type, column)} == _INT else None

    def examine(self, value: object) -> object:
        """See Rule."""
        return Violation(NOT_BLANK) if value is None else value


def _are_among(allowed: frozenset[str], column: Sequence[object]) -> bool:
    try:
        return allowed.issuperset(column)
    except TypeError:  # a value that cannot be hashed
        return False


def _has_blank(text: str, values: Sequence[str]) -> bool:
    # Most texts have no white space at all, which one search over all of them shows.
    return text.split(None, 1) != [text] and not all(map(str.strip, values))
