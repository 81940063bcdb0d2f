"""What the compiled code needs to know of the contract and of the rows, made of the tables that the reference has."""

from typing import Final, NamedTuple, TypeAlias

from seestack.ingest.v1 import ingest_pb2
from server.contract.fields import FIELDS
from server.contract.rules import Direction, Integer, Method, Path, StatusCode, Text, Timestamp
from storage.writing.http_requests import HTTP_REQUESTS

# How a column is written, and the field whose value it has, None where the server itself fills it in.
ColumnEntry: TypeAlias = tuple[str, str | None]


class FieldEntry(NamedTuple):
    """A field of an item: its name in JSON, its number in protobuf, its rule, and the most characters of a text."""

    name: str
    json_name: str
    number: int
    rule: str
    required: bool
    longest: int


# A rule of another type is not known to the compiled code, and not taken for one of these.
_RULES: Final[dict[type, str]] = {
    Text: "text",
    Path: "path",
    Method: "method",
    Direction: "direction",
    Integer: "integer",
    StatusCode: "status_code",
    Timestamp: "timestamp",
}
# Columns that are not simply the value of the field of their name.
_COLUMNS: Final[dict[str, ColumnEntry]] = {
    "id": ("id", None),
    "project": ("project", None),
    "method": ("method", "method"),
    "is_inbound": ("is_first_direction", "direction"),
    "trace_is_dashed": ("trace_is_dashed", "trace_id"),
    "trace": ("trace", "trace_id"),
    "other_trace": ("other_trace", "trace_id"),
    "long_duration_ms": ("long_bigint", "duration_ms"),
    "long_request_size": ("long_bigint", "request_size"),
    "long_response_size": ("long_bigint", "response_size"),
}
_TYPES: Final = {
    "timestamptz": "instant",
    "integer": "integer_unless_long",
    "smallint": "smallint",
    "text": "text",
}
_ASCII: Final = [chr(code) for code in range(128)]


def field_entries() -> list[FieldEntry]:
    """Return all fields. Raises KeyError for a rule that the compiled code does not know."""
    numbers = ingest_pb2.HttpRequest.DESCRIPTOR.fields_by_name
    return [
        FieldEntry(
            field.name,
            field.json_name,
            numbers[field.name].number,
            _RULES[type(field.rule)],
            field.rule.required,
            field.rule.longest if isinstance(field.rule, Text) else 0,
        )
        for field in FIELDS
    ]


def column_entries() -> list[ColumnEntry]:
    """Return all columns of a row. Raises KeyError for a type that the compiled code does not know."""
    return [_COLUMNS[name] if name in _COLUMNS else (_TYPES[type_], name) for name, type_ in HTTP_REQUESTS.form.columns]


def batch_numbers() -> tuple[int, int, int]:
    """Return protobuf's numbers of a batch's project id, items, and idempotency key."""
    numbers = ingest_pb2.IngestHttpRequestsRequest.DESCRIPTOR.fields_by_name
    return numbers["project_id"].number, numbers["requests"].number, numbers["idempotency_key"].number


def method_bytes() -> tuple[bytes, bytes]:
    """Return the bytes that a method may have, and as which each of them is stored."""
    (rule,) = (field.rule for field in FIELDS if isinstance(field.rule, Method))
    stored = {sent: value for sent in _ASCII if isinstance(value := rule.examine(sent), str)}
    return "".join(stored).encode(), "".join(stored.values()).encode()


def status_codes() -> list[int]:
    """Return the status codes that are accepted."""
    (rule,) = (field.rule for field in FIELDS if isinstance(field.rule, StatusCode))
    return [code for code in range(1000) if rule.examine(code) == code]
