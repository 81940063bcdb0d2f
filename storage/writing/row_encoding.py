"""Encoding of rows: columns of values, and their form for COPY ... (FORMAT BINARY).

A batch is kept as columns and encoded a column at a time, because a call per column is much cheaper than one per row.
Binary COPY is described in the PostgreSQL manual, "COPY", "Binary Format"; integers are big-endian.
"""

import random
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby, repeat
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from storage.writing.claims import Claim
from storage.writing.row_form import RowForm

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TRAILER = struct.pack(">h", -1)

# Postgres counts microseconds from 2000-01-01 UTC.
_POSTGRES_EPOCH_US = 946_684_800_000_000

# The struct codes of the types that have one width; all other types are sent as text.
_FIXED_WIDTHS = {"smallint": "h", "bigint": "q", "timestamptz": "q"}
# What the server itself fills in, with the types.
_SERVER_COLUMNS = (("received_at", "timestamptz"), ("project_id", "uuid"), ("id", "uuid"))
_NULL = struct.pack(">i", -1)
# Column count, received_at, project_id, and the length of id: the same in every row of a batch.
_ROW_START = struct.Struct(">h iq i16s i")
_ID = ">QQ"
_LENGTH = struct.Struct(">i")

# Ids must be unique, not secret; a system call a batch would also hand the interpreter to another thread.
_random = random.Random()  # noqa: S311
_UUID_VERSION_7 = 0x7 << 12
_UUID_VARIANT = 0b10 << 62

# Valid values of one batch by column name, all of one length (at least 1 row). A `timestamptz` is an int, in
# microseconds since 1970-01-01 UTC.
Values: TypeAlias = Mapping[str, Sequence[Any]]
_Encode = Callable[[Values], Iterable[Iterable[bytes]]]
_EncodeNumbers = Callable[[Values], tuple[Iterable[int], Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a batch has values for. `type` is Postgres' name of its type.

    `repeats` is for text of which few different values come: their encoded form is cached.
    """

    name: str
    type: str
    nullable: bool = False
    repeats: bool = False


class EncodedBatch(NamedTuple):
    """A batch ready to be copied: `data` is its rows in binary COPY form, without header and trailer.

    With a claim, it is not stored when its idempotency key is. `form` says which columns the rows have.
    """

    rows: int
    data: bytes
    claim: Claim | None
    form: RowForm


class RowFormat:
    """How batches of one table are encoded. Its rows also have the columns that the server itself fills in."""

    def __init__(self, table: str, columns: Sequence[Column]) -> None:
        """`columns` begin with `timestamp`; all of fixed width are sent before the others, in the order given."""
        fixed = [column for column in columns if column.type in _FIXED_WIDTHS]
        texts = [column for column in columns if column.type not in _FIXED_WIDTHS]
        self.columns = (*fixed, *texts)
        self.form = RowForm(table, (*_SERVER_COLUMNS, *((column.name, column.type) for column in self.columns)))
        self._numbers = struct.Struct(_ID + "".join(f"i{_FIXED_WIDTHS[column.type]}" for column in fixed))
        self._numbers_of = list(map(_number_encoder, fixed))
        self._texts = list(_text_encoders(texts))

    def count(self, values: Values) -> int:
        """Return the number of rows of a batch."""
        return len(values[self.columns[0].name])

    def encode(self, project_id: UUID, values: Values, claim: Claim | None = None) -> EncodedBatch:
        """Encode a batch for COPY, giving each row its id (UUIDv7, RFC 9562) and the present time as `received_at`.

        Raises struct.error when an integer does not fit its column.
        """
        received_us = time.time_ns() // 1000
        count = self.count(values)
        row_start = _ROW_START.pack(
            len(self.form.columns), 8, received_us - _POSTGRES_EPOCH_US, 16, project_id.bytes, 16
        )  # fmt: skip
        ids = _uuid7_halves(received_us // 1000, count)
        numbers = map(self._numbers.pack, *ids, *chain.from_iterable(encode(values) for encode in self._numbers_of))
        texts = chain.from_iterable(encode(values) for encode in self._texts)
        rows = zip(repeat(row_start), numbers, *texts, strict=False)  # `repeat` has no end
        return EncodedBatch(count, b"".join(chain.from_iterable(rows)), claim, self.form)


def copy_data(rows: Iterable[bytes]) -> bytes:
    """Return all that a binary COPY of these rows is sent."""
    return b"".join((COPY_HEADER, *rows, COPY_TRAILER))


def first_id(unix_ms: int) -> tuple[int, int]:
    """Return the upper and lower 64 bits of the id (UUIDv7, RFC 9562) of a batch's first row; both count up by row.

    rand_a counts up within the batch (RFC 9562, 6.2, method 1) from a random start that leaves room for 2,048 rows.
    """
    counter = _random.getrandbits(11)
    return (unix_ms << 16) | _UUID_VERSION_7 | counter, _UUID_VARIANT | _random.getrandbits(61)


def _number_encoder(column: Column) -> _EncodeNumbers:
    """Return what gives the lengths and the values of a column of fixed width."""
    name, lengths = column.name, repeat(struct.calcsize(f">{_FIXED_WIDTHS[column.type]}"))
    if column.type == "timestamptz":
        return lambda values: (lengths, [microseconds - _POSTGRES_EPOCH_US for microseconds in values[name]])
    return lambda values: (lengths, values[name])


def _text_encoders(columns: Iterable[Column]) -> Iterator[_Encode]:
    """Return what encodes text columns: those that repeat together with their neighbours, the others each alone."""
    for repeats, neighbours in groupby(columns, attrgetter("repeats")):
        if repeats:
            yield _repeating_encoder([column.name for column in neighbours])
        else:
            yield from (_nullable_encoder(it.name) if it.nullable else _encoder(it.name) for it in neighbours)


def _repeating_encoder(names: Sequence[str]) -> _Encode:
    encode = lru_cache(4096)(_texts)
    return lambda values: [map(encode, *(values[name] for name in names))]


def _nullable_encoder(name: str) -> _Encode:
    return lambda values: [[_NULL if value is None else _text(value) for value in values[name]]]


def _encoder(name: str) -> _Encode:
    def encode(values: Values) -> Iterable[Iterable[bytes]]:
        texts = list(map(str.encode, values[name]))
        return map(_length, map(len, texts)), texts

    return encode


def _texts(*values: str | None) -> bytes:
    return b"".join(map(_text, values))


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    data = value.encode()
    return _length(len(data)) + data


@lru_cache(4096)
def _length(size: int) -> bytes:
    return _LENGTH.pack(size)


def _uuid7_halves(unix_ms: int, count: int) -> tuple[Iterable[int], Iterable[int]]:
    """Return the upper and lower 64 bits of `count` ascending UUIDv7s of one millisecond."""
    upper, lower = first_id(unix_ms)
    return range(upper, upper + count), range(lower, lower + count)
