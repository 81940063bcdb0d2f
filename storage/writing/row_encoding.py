"""The rows of `http_requests` on their way in: columns of values, and their form for COPY ... (FORMAT BINARY).

A batch is kept as columns and encoded a column at a time, because a call per column is much cheaper than one per row.
Binary COPY is described in the PostgreSQL manual, "COPY", "Binary Format"; integers are big-endian.
"""

import random
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain, repeat
from typing import NamedTuple
from uuid import UUID

from storage.writing.claims import COPY_CLAIMS, Claim, encode_claims
from storage.writing.row_form import RowForm


def with_claims(form: RowForm) -> str:
    """Return the statement that takes rows of a form, and then their claims."""
    return f"{form.copy_statement}; {COPY_CLAIMS}"


# The order in which _encode_rows writes the fields.
FORM = RowForm(
    "http_requests",
    (
        ("received_at", "timestamptz"), ("project_id", "uuid"), ("id", "uuid"), ("timestamp", "timestamptz"),
        ("duration_ms", "bigint"), ("request_size", "bigint"), ("response_size", "bigint"), ("status_code", "smallint"),
        ("direction", "request_direction"), ("method", "text"), ("host", "text"), ("path", "text"),
        ("trace_id", "text"), ("user_id", "text"), ("error_fingerprint", "text"),
    ),
)  # fmt: skip
COPY = FORM.copy_statement
COPY_WITH_CLAIMS = with_claims(FORM)
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TRAILER = struct.pack(">h", -1)

# Postgres counts microseconds from 2000-01-01 UTC.
_POSTGRES_EPOCH_US = 946_684_800_000_000
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_FIELD_COUNT = 15
_NULL = struct.pack(">i", -1)
# Field count, received_at, project_id, and the length of id: the same in every row of a batch.
_ROW_START = struct.Struct(">h iq i16s i")
# id as two halves, then timestamp, duration_ms, request_size, response_size and status_code, each after its length.
_ROW_NUMBERS = struct.Struct(">QQ iq iq iq iq ih")
# Of a whole row: project_id, id and timestamp.
_LOCATION = struct.Struct(f">{_ROW_START.size - 20}x 16s 4x 16s 4x q")
_LENGTH = struct.Struct(">i")

# Ids must be unique, not secret; a system call a batch would also hand the interpreter to another thread.
_random = random.Random()  # noqa: S311
_UUID_VERSION_7 = 0x7 << 12
_UUID_VARIANT = 0b10 << 62


class HttpRequestColumns(NamedTuple):
    """Valid values of one batch, a sequence per column, all of one length (at least 1 row).

    `timestamp_us` is in microseconds since 1970-01-01 UTC; durations are in milliseconds, sizes in bytes.
    """

    trace_id: Sequence[str]
    direction: Sequence[str]
    method: Sequence[str]
    host: Sequence[str]
    path: Sequence[str]
    status_code: Sequence[int]
    duration_ms: Sequence[int]
    request_size: Sequence[int]
    response_size: Sequence[int]
    user_id: Sequence[str | None]
    error_fingerprint: Sequence[str | None]
    timestamp_us: Sequence[int]


class EncodedBatch(NamedTuple):
    """A batch ready to be copied: `data` is its rows in binary COPY form, without header and trailer.

    With a claim, it is not stored when its idempotency key is. `form` says which columns the rows have.
    """

    rows: int
    data: bytes
    claim: Claim | None = None
    form: RowForm = FORM


class RowLocation(NamedTuple):
    """What finds a row: the first two by an index, the id for certain."""

    project_id: UUID
    timestamp: datetime
    id: UUID


def first_row(batch: EncodedBatch) -> RowLocation:
    """Return where the first row of an encoded batch is, once it is stored."""
    project_id, id_bytes, timestamp = _LOCATION.unpack_from(batch.data)
    moment = _POSTGRES_EPOCH + timedelta(microseconds=timestamp)
    return RowLocation(UUID(bytes=project_id), moment, UUID(bytes=id_bytes))


def copy_data(rows: Iterable[bytes]) -> bytes:
    """Return all that a binary COPY of these rows is sent."""
    return b"".join((COPY_HEADER, *rows, COPY_TRAILER))


def claims_data(batches: Iterable[EncodedBatch]) -> bytes:
    """Return all that COPY_CLAIMS is sent for batches, of which any may have a claim."""
    return copy_data([encode_claims(batch.claim for batch in batches if batch.claim is not None)])


def encode_batch(project_id: UUID, columns: HttpRequestColumns, claim: Claim | None = None) -> EncodedBatch:
    """Encode a batch for COPY, giving each row its id (UUIDv7, RFC 9562) and the present time as `received_at`."""
    received_us = time.time_ns() // 1000
    return EncodedBatch(
        rows=len(columns.trace_id),
        data=b"".join(chain.from_iterable(_encode_rows(project_id, columns, received_us))),
        claim=claim,
    )


def _encode_rows(project_id: UUID, columns: HttpRequestColumns, received_us: int) -> Iterator[tuple[bytes, ...]]:
    row_start = _ROW_START.pack(_FIELD_COUNT, 8, received_us - _POSTGRES_EPOCH_US, 16, project_id.bytes, 16)
    numbers = map(
        _ROW_NUMBERS.pack,
        *_uuid7_halves(received_us // 1000, len(columns.trace_id)),
        repeat(8),
        [timestamp - _POSTGRES_EPOCH_US for timestamp in columns.timestamp_us],
        repeat(8),
        columns.duration_ms,
        repeat(8),
        columns.request_size,
        repeat(8),
        columns.response_size,
        repeat(2),
        columns.status_code,
    )
    paths, traces = list(map(str.encode, columns.path)), list(map(str.encode, columns.trace_id))
    return zip(
        repeat(row_start),
        numbers,
        map(_endpoint, columns.direction, columns.method, columns.host),
        map(_length, map(len, paths)),
        paths,
        map(_length, map(len, traces)),
        traces,
        [_NULL if value is None else _text(value) for value in columns.user_id],
        map(_fingerprint, columns.error_fingerprint),
        strict=False,  # `repeat` has no end
    )


def _uuid7_halves(unix_ms: int, count: int) -> tuple[Iterable[int], Iterable[int]]:
    """Return the upper and lower 64 bits of `count` ascending UUIDv7s of one millisecond.

    rand_a counts up within the batch (RFC 9562, 6.2, method 1) from a random start that leaves room for 2,048 rows.
    """
    counter = _random.getrandbits(11)
    upper = (unix_ms << 16) | _UUID_VERSION_7 | counter
    lower = _UUID_VARIANT | _random.getrandbits(61)
    return range(upper, upper + count), range(lower, lower + count)


def _text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data


# A sender calls few hosts and meets few errors, so these come again and again.
@lru_cache(4096)
def _endpoint(direction: str, method: str, host: str) -> bytes:
    return _text(direction) + _text(method) + _text(host)


@lru_cache(4096)
def _fingerprint(value: str | None) -> bytes:
    return _NULL if value is None else _text(value)


@lru_cache(4096)
def _length(size: int) -> bytes:
    return _LENGTH.pack(size)
