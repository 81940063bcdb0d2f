"""Translation between protobuf messages and the service layer's terms."""

from collections.abc import Sequence
from math import ceil
from operator import attrgetter
from typing import Any

from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from seestack.ingest.v1 import ingest_pb2
from server.contract.batch import RawBatch, RawItems
from server.contract.fields import FIELDS
from server.contract.rules import NOT_A_DATE_TIME, Timestamp, Violation
from server.contract.timestamps import EARLIEST_US, END_US
from server.errors import IngestError, MalformedRequestError

ERROR_DOMAIN = "seestack"

_TIMESTAMPS = [field.name for field in FIELDS if isinstance(field.rule, Timestamp)]
# What is read of each item: the fields, and the two parts of a timestamp.
_PATHS = [field.name for field in FIELDS if field.name not in _TIMESTAMPS] + [
    f"{name}.{part}" for name in _TIMESTAMPS for part in ("seconds", "nanos")
]
_values_of = attrgetter(*_PATHS)
# Fields for which "left out" and "0" or "" differ.
_PRESENCE = [
    field.name
    for field in ingest_pb2.HttpRequest.DESCRIPTOR.fields
    if field.has_presence and field.name not in _TIMESTAMPS
]

_MAX_NANOSECONDS = 999_999_999
_EARLIEST_S = EARLIEST_US // 1_000_000
_END_S = END_US // 1_000_000


def decode_batch(data: bytes) -> RawBatch:
    """Decode a batch, of a unary call or of a stream: both messages have the same fields.

    Raises MalformedRequestError when `data` is not such a message.
    """
    try:
        message = ingest_pb2.IngestHttpRequestsRequest.FromString(data)
    except DecodeError as error:
        raise MalformedRequestError("The message is not a valid batch") from error
    project_id = message.project_id if message.HasField("project_id") else None
    idempotency_key = message.idempotency_key if message.HasField("idempotency_key") else None
    return RawBatch(project_id, _to_columns(message.requests), idempotency_key)


def status_of(error: IngestError, request_id: str) -> Status:
    """Return the google.rpc.Status of an error: its code, message and standard details."""
    status = Status(code=error.outcome.grpc_status, message=error.message)
    _add(status, ErrorInfo(reason=error.code, domain=ERROR_DOMAIN))
    _add(status, RequestInfo(request_id=request_id))
    if error.details:
        violations = [
            BadRequest.FieldViolation(field=field, description=message) for field, message in error.details.items()
        ]
        _add(status, BadRequest(field_violations=violations))
    if error.retry_after_s is not None:
        _add(status, RetryInfo(retry_delay=_to_duration(error.retry_after_s)))
    return status


def batch_error_of(error: IngestError, request_id: str) -> ingest_pb2.BatchError:
    """Return what a stream answers for a batch that was refused."""
    message = ingest_pb2.BatchError(code=error.code, message=error.message, request_id=request_id)
    for field, description in error.details.items():
        message.field_violations.add(field=field, description=description)
    if error.retry_after_s is not None:
        message.retry_delay.CopyFrom(_to_duration(error.retry_after_s))
    return message


def _to_duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(ceil(seconds * 1_000_000_000))
    return duration


def _to_columns(items: Sequence[ingest_pb2.HttpRequest]) -> RawItems:
    if not items:
        return RawItems(0, {})
    values = zip(*map(_values_of, items), strict=True)
    columns: dict[str, Sequence[Any]] = dict(zip(_PATHS, values, strict=True))
    for name in _TIMESTAMPS:
        seconds, nanoseconds = columns.pop(f"{name}.seconds"), columns.pop(f"{name}.nanos")
        columns[name] = _to_microseconds(items, name, seconds, nanoseconds)
    for name in _PRESENCE:
        columns[name] = _with_absent(items, name, columns[name])
    return RawItems(len(items), columns)


def _with_absent(items: Sequence[ingest_pb2.HttpRequest], name: str, column: Sequence[object]) -> Sequence[object]:
    """Return a column with None for what was left out; only 0 and "" can stand for that."""
    if all(column):
        return column
    return [value if value or item.HasField(name) else None for item, value in zip(items, column, strict=True)]  # type: ignore[arg-type]


def _to_microseconds(
    items: Sequence[ingest_pb2.HttpRequest], name: str, seconds: Sequence[int], nanoseconds: Sequence[int]
) -> list[int | Violation | None]:
    parts = zip(seconds, nanoseconds, strict=True)
    if min(seconds) > 0 and max(seconds) < _END_S and min(nanoseconds) >= 0 and max(nanoseconds) <= _MAX_NANOSECONDS:
        return [second * 1_000_000 + nano // 1000 for second, nano in parts]
    return [_to_instant(*part) if item.HasField(name) else None for item, part in zip(items, parts, strict=True)]  # type: ignore[arg-type]


def _to_instant(seconds: int, nanoseconds: int) -> int | Violation:
    if not (_EARLIEST_S <= seconds < _END_S and 0 <= nanoseconds <= _MAX_NANOSECONDS):
        return NOT_A_DATE_TIME
    return seconds * 1_000_000 + nanoseconds // 1000


def _add(status: Status, detail: ErrorInfo | RequestInfo | BadRequest | RetryInfo) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)
