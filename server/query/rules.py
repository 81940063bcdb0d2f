"""The rules for the values of parameters, which come as text on both protocols."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from server.contract.identifiers import parse_uuid
from server.contract.rules import MAX_INT64, Method, StatusCode, Text, Violation
from server.contract.timestamps import parse_rfc3339
from storage.endpoints import PLACEHOLDER, endpoint_of

MOST_PLACEHOLDERS = 20

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Schema = Mapping[str, object]


class ParameterRule(Protocol):
    """The rule for one parameter; `schema` is the same in JSON Schema, as far as that goes."""

    schema: Schema

    def parse(self, text: str) -> object:
        """Return the value that `text` stands for, or a Violation."""


class Words:
    """Text without NUL of at most so many characters, not blank."""

    def __init__(self, longest: int) -> None:
        self._rule = Text(longest)
        self.schema: Schema = {"type": "string", "minLength": 1, "maxLength": longest}

    def parse(self, text: str) -> object:
        """See ParameterRule."""
        return self._rule.examine(text)


class MethodName(Words):
    """An HTTP method; stored ones are in upper case."""

    def __init__(self) -> None:
        super().__init__(32)
        self._rule = Method(32)


class Endpoint(Words):
    """A path with placeholders. One with ids is taken for its endpoint."""

    def __init__(self) -> None:
        super().__init__(8192)

    def parse(self, text: str) -> object:
        """See ParameterRule."""
        value = super().parse(text)
        if not isinstance(value, str):
            return value
        endpoint = endpoint_of(value)
        if endpoint.split("/").count(PLACEHOLDER) > MOST_PLACEHOLDERS:
            return Violation(f"must have at most {MOST_PLACEHOLDERS} placeholders")
        return endpoint


class OneOf:
    """One of a few words."""

    def __init__(self, *allowed: str) -> None:
        self._allowed = allowed
        self.schema: Schema = {"type": "string", "enum": list(allowed)}

    def parse(self, text: str) -> object:
        """See ParameterRule."""
        return text if text in self._allowed else Violation(f'must match "{"|".join(self._allowed)}"')


class Uuid:
    """A UUID in its 36-character form."""

    schema: Schema = {"type": "string", "format": "uuid"}

    def parse(self, text: str) -> object:
        """See ParameterRule."""
        return parse_uuid(text) or Violation("must be a valid UUID")


class Moment:
    """An RFC 3339 date-time, to the microsecond."""

    schema: Schema = {"type": "string", "format": "date-time"}

    def parse(self, text: str) -> object:
        """See ParameterRule."""
        microseconds = parse_rfc3339(text)
        if not isinstance(microseconds, Violation):
            return _EPOCH + timedelta(microseconds=microseconds)
        # A + that is not encoded is a blank in a query string.
        time, blank, offset = text.rpartition(" ")
        if blank and not isinstance(parse_rfc3339(f"{time}+{offset}"), Violation):
            return Violation("must be a valid ISO-8601 date-time; in an address, its + is written %2B")
        return microseconds


class Number:
    """An integer within bounds."""

    def __init__(self, lowest: int = 0, highest: int = MAX_INT64) -> None:
        self._lowest = lowest
        self._highest = highest
        self.schema: Schema = {"type": "integer", "minimum": lowest, "maximum": highest}

    def parse(self, text: str) -> object:
        """See ParameterRule."""
        if not _INTEGER.fullmatch(text):
            return Violation("must be an integer")
        value = int(text)
        return value if self._lowest <= value <= self._highest else Violation(self._range)

    @property
    def _range(self) -> str:
        if self._highest == MAX_INT64:
            return f"must be greater than or equal to {self._lowest}"
        return f"must be between {self._lowest} and {self._highest}"


class Status(Number):
    """A status code, 0 where no response came."""

    def __init__(self) -> None:
        super().__init__(0, 599)
        self.schema = StatusCode.schema

    def parse(self, text: str) -> object:
        """See ParameterRule."""
        value = super().parse(text)
        return Violation(self._range) if isinstance(value, int) and 0 < value < 100 else value

    @property
    def _range(self) -> str:
        return "must be 0 or between 100 and 599"


class Step(Number):
    """Seconds of a step, or `auto`."""

    def __init__(self) -> None:
        super().__init__(lowest=1)
        self.schema = {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}], "default": "auto"}

    def parse(self, text: str) -> object:
        """See ParameterRule."""
        return None if text == "auto" else super().parse(text)
