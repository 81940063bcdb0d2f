"""The form of encoded rows: the table that they are for, and its columns in the order in which the rows have them.

Rows may wait in the spool for a server of a later version, whose columns are others: so they say what form they have.
"""

import re
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Self, TypeAlias
from uuid import UUID

Value: TypeAlias = str | int | bool | UUID | datetime | None

_NAME = "[a-z_][a-z0-9_]*"
_COLUMN = rf"{_NAME} {_NAME}"
_DEFINITION = re.compile(rf"({_NAME}) \(({_COLUMN}(?:, {_COLUMN})*)\)")

_COUNT = struct.Struct(">h")
_LENGTH = struct.Struct(">i")
_INTEGER_TYPES = ("smallint", "integer", "bigint")
# Postgres counts microseconds from 2000-01-01 UTC.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class RowForm(NamedTuple):
    """A table, and its columns as (name, Postgres type)."""

    table: str
    columns: tuple[tuple[str, str], ...]

    @classmethod
    @lru_cache(64)
    def parse(cls, definition: str) -> Self:
        """Read what `definition` gives. Raises ValueError."""
        match = _DEFINITION.fullmatch(definition)
        if match is None:
            raise ValueError(f"this is not a form of rows: {definition!r}")
        columns = [column.split(" ") for column in match[2].split(", ")]
        return cls(match[1], tuple((name, type_) for name, type_ in columns))

    @property
    def definition(self) -> str:
        """The form as text: `table (column type, ...)`."""
        return f"{self.table} ({', '.join(map(' '.join, self.columns))})"

    @property
    def copy_statement(self) -> str:
        """The statement that takes rows of this form; names are those that `parse` allows."""
        return _copy_statement(self)

    def decode(self, data: bytes) -> "list[dict[str, Value]]":
        """Return encoded rows as values by column. Raises ValueError when they are not rows of this form."""
        try:
            return list(self._rows(data))
        except (struct.error, UnicodeDecodeError) as error:
            raise ValueError(f"these are not rows of {self.table}: {error}") from error

    def first_row(self, data: bytes) -> "dict[str, Value]":
        """Return the first of encoded rows as values by column."""
        return next(self._rows(data))

    def _rows(self, data: bytes) -> "Iterator[dict[str, Value]]":
        offset = 0
        while offset < len(data):
            (count,) = _COUNT.unpack_from(data, offset)
            if count != len(self.columns):
                raise ValueError(f"a row has {count} columns instead of {len(self.columns)}")
            offset += _COUNT.size
            row: dict[str, Value] = {}
            for name, type_ in self.columns:
                (length,) = _LENGTH.unpack_from(data, offset)
                offset += _LENGTH.size
                if length < 0:
                    row[name] = None
                    continue
                (value,) = struct.unpack_from(f"{length}s", data, offset)
                offset += length
                row[name] = _READERS.get(type_, bytes.decode)(value)
            yield row


@lru_cache(64)
def _copy_statement(form: RowForm) -> str:
    names = ", ".join(f'"{name}"' for name, _ in form.columns)
    # A condition that may change from row to row has rows inserted one by one. Otherwise Postgres gathers 1,000 at a
    # time, at a cost in CPU that grows with the square of their number (docs/schema.md).
    return f'COPY "{form.table}" ({names}) FROM STDIN (FORMAT BINARY) WHERE random() >= 0'


def _read_integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _read_timestamp(data: bytes) -> datetime | int:
    microseconds = _read_integer(data)
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return microseconds


def _read_uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


_READERS: dict[str, Callable[[bytes], Value]] = {
    **dict.fromkeys(_INTEGER_TYPES, _read_integer),
    "boolean": b"\1".__eq__,
    "timestamptz": _read_timestamp,
    "uuid": _read_uuid,
}
