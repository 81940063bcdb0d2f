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
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from storage.writing.claims import Claim
from storage.writing.row_form import RowForm

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TRAILER = struct.pack(">h", -1)

# Postgres counts microseconds from 2000-01-01 UTC.
_POSTGRES_EPOCH_US = 946_684_800_000_000

# The struct codes of the types that have one width; all other types are sent as text.
_FIXED_WIDTHS = {"smallint": "h", "integer": "i", "bigint": "q", "boolean": "?", "timestamptz": "q", "uuid": "16s"}
# What the server itself fills in, with the types.
_SERVER_COLUMNS = (("id", "uuid"), ("project", "integer"))
_NULL = struct.pack(">i", -1)
# Column count, id, project: what each row begins with.
_ROW_START = struct.Struct(">h iQQ ii")
_PROJECT = slice(_ROW_START.size - 4, _ROW_START.size)
_LENGTH = struct.Struct(">i")

# Ids must be unique, not secret; a system call a batch would also hand the interpreter to another thread.
_random = random.Random()  # noqa: S311
_UUID_VERSION_7 = 0x7 << 12
_UUID_VARIANT = 0b10 << 62
_LOWER_HALF = 2**64 - 1

# Valid values of one batch by name, all of one length (at least 1 row). A `timestamptz` is an int, in microseconds
# since 1970-01-01 UTC, and a `uuid` 16 bytes.
Values: TypeAlias = Mapping[str, Sequence[Any]]
_Encode = Callable[[Values], Iterable[Iterable[bytes]]]


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

    def __init__(
        self, table: str, columns: Sequence[Column], to_stored: Callable[[Values], Values] | None = None
    ) -> None:
        """`columns` begin with `timestamp`; `to_stored`, if given, makes their values of those of a batch."""
        self.columns = tuple(columns)
        self.form = RowForm(table, (*_SERVER_COLUMNS, *((column.name, column.type) for column in columns)))
        self._to_stored = to_stored
        self._encoders = list(_encoders(columns))

    def count(self, values: Values) -> int:
        """Return the number of rows of a batch."""
        return len(values["timestamp"])

    def encode(
        self,
        project: int,
        values: Values,
        claim: Claim | None = None,
        *,
        received_ms: int | None = None,
        ids: Sequence[UUID] | None = None,
    ) -> EncodedBatch:
        """Encode a batch of the project of that number for COPY, giving each row its id, if it has none of `ids` yet.

        That is a UUIDv7 (RFC 9562) of when the row was received, which is now unless `received_ms` (Unix time) says so.
        Raises struct.error when an integer does not fit its column.
        """
        count = self.count(values)
        stored = self._to_stored(values) if self._to_stored is not None else values
        if ids is None:
            halves = _uuid7_halves(time.time_ns() // 1_000_000 if received_ms is None else received_ms, count)
        else:
            halves = [each.int >> 64 for each in ids], [each.int & _LOWER_HALF for each in ids]
        starts = map(_ROW_START.pack, repeat(len(self.form.columns)), repeat(16), *halves, repeat(4), repeat(project))
        columns = chain.from_iterable(encode(stored) for encode in self._encoders)
        rows = zip(starts, *columns, strict=True)
        return EncodedBatch(count, b"".join(chain.from_iterable(rows)), claim, self.form)


def project_of(batch: EncodedBatch) -> int:
    """Return the number of the project of a batch; 0 when its form is one of earlier versions, which has none."""
    if batch.form.columns[:2] != _SERVER_COLUMNS:
        return 0
    return int.from_bytes(batch.data[_PROJECT], "big", signed=True)


def copy_data(rows: Iterable[bytes]) -> bytes:
    """Return all that a binary COPY of these rows is sent."""
    return b"".join((COPY_HEADER, *rows, COPY_TRAILER))


def first_id(unix_ms: int) -> tuple[int, int]:
    """Return the upper and lower 64 bits of the id (UUIDv7, RFC 9562) of a batch's first row; both count up by row.

    rand_a counts up within the batch (RFC 9562, 6.2, method 1) from a random start that leaves room for 2,048 rows.
    """
    counter = _random.getrandbits(11)
    return (unix_ms << 16) | _UUID_VERSION_7 | counter, _UUID_VARIANT | _random.getrandbits(61)


def _encoders(columns: Iterable[Column]) -> Iterator[_Encode]:
    """Return what encodes the columns: neighbours of fixed width or with repeated text together, others each alone."""
    for (is_fixed, repeats), neighbours in groupby(columns, lambda it: (it.type in _FIXED_WIDTHS, it.repeats)):
        if is_fixed:
            yield _fixed_encoder(list(neighbours))
        elif repeats:
            yield _repeating_encoder([column.name for column in neighbours])
        else:
            yield from (_nullable_encoder(it.name) if it.nullable else _encoder(it.name) for it in neighbours)


def _fixed_encoder(columns: Sequence[Column]) -> _Encode:
    """Return what encodes columns of fixed width, in one call a row when no value is NULL, and none when all are."""
    codes = [_FIXED_WIDTHS[column.type] for column in columns]
    lengths = [struct.calcsize(f">{code}") for code in codes]
    nullable = [position for position, column in enumerate(columns) if column.nullable]
    whole = struct.Struct(">" + "".join(f"i{code}" for code in codes))
    single = [struct.Struct(f">i{code}") for code in codes]

    def encode(values: Values) -> Iterable[Iterable[bytes]]:
        given = [_postgres_values(column, values) for column in columns]
        nulls = sum(given[position].count(None) for position in nullable)
        if nulls == 0:
            return [map(whole.pack, *chain.from_iterable(zip(map(repeat, lengths), given, strict=True)))]
        if nulls == len(columns) * len(given[0]):
            return [[_NULL * len(columns)] * len(given[0])]
        return [
            [_NULL if value is None else form.pack(length, value) for value in each]
            for form, length, each in zip(single, lengths, given, strict=True)
        ]

    return encode


def _postgres_values(column: Column, values: Values) -> Sequence[Any]:
    if column.type == "timestamptz":
        return [microseconds - _POSTGRES_EPOCH_US for microseconds in values[column.name]]
    return values[column.name]


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
