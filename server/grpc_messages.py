"""Translation between protobuf messages and the service layer's terms."""

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from seestack.ingest.v1 import ingest_pb2
from server.batch import InvalidTimestamp, RawBatch, RawItems
from server.errors import IngestError, MalformedRequestError
from server.timestamps import EARLIEST_US, END_US

ERROR_DOMAIN = "seestack"

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
    items = message.requests
    columns = (
        [item.trace_id for item in items],
        [item.direction for item in items],
        [item.method for item in items],
        [item.host for item in items],
        [item.path for item in items],
        [item.status_code or _zero_or_absent(item, "status_code") for item in items],
        [item.duration_ms or _zero_or_absent(item, "duration_ms") for item in items],
        [item.request_size or _zero_or_absent(item, "request_size") for item in items],
        [item.response_size or _zero_or_absent(item, "response_size") for item in items],
        [item.user_id or ("" if item.HasField("user_id") else None) for item in items],
        [item.error_fingerprint or ("" if item.HasField("error_fingerprint") else None) for item in items],
        [_microseconds(item) for item in items],
    )
    project_id = message.project_id if message.HasField("project_id") else None
    return RawBatch(project_id, RawItems(len(items), columns))


def status_of(error: IngestError, request_id: str) -> Status:
    """Return the google.rpc.Status of an error: its code, message and standard details."""
    status = Status(code=error.outcome.grpc_status.value[0], message=error.message)
    _add(status, ErrorInfo(reason=error.code, domain=ERROR_DOMAIN))
    _add(status, RequestInfo(request_id=request_id))
    if error.details:
        violations = [
            BadRequest.FieldViolation(field=field, description=message) for field, message in error.details.items()
        ]
        _add(status, BadRequest(field_violations=violations))
    if error.retry_after_s is not None:
        _add(status, RetryInfo(retry_delay=Duration(seconds=error.retry_after_s)))
    return status


def batch_error_of(error: IngestError, request_id: str) -> ingest_pb2.BatchError:
    """Return what a stream answers for a batch that was refused."""
    message = ingest_pb2.BatchError(code=error.code, message=error.message, request_id=request_id)
    for field, description in error.details.items():
        message.field_violations.add(field=field, description=description)
    if error.retry_after_s is not None:
        message.retry_delay.seconds = error.retry_after_s
    return message


def _zero_or_absent(item: ingest_pb2.HttpRequest, field: str) -> int | None:
    return 0 if item.HasField(field) else None  # type: ignore[arg-type]


def _microseconds(item: ingest_pb2.HttpRequest) -> int | type[InvalidTimestamp] | None:
    timestamp = item.timestamp
    seconds, nanoseconds = timestamp.seconds, timestamp.nanos
    if not seconds and not nanoseconds and not item.HasField("timestamp"):
        return None
    if not (_EARLIEST_S <= seconds < _END_S and 0 <= nanoseconds <= 999_999_999):
        return InvalidTimestamp
    return seconds * 1_000_000 + nanoseconds // 1000


def _add(status: Status, detail: ErrorInfo | RequestInfo | BadRequest | RetryInfo) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)
