"""What becomes of an input, and which rows it should leave behind."""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from seestack.ingest.v1.ingest_pb2 import IngestHttpRequestsRequest

# The columns in the order of ROW_COLUMNS.
Row: TypeAlias = tuple[Any, ...]

ROW_COLUMNS = (
    "trace_id, direction::text, method, host, path, status_code, duration_ms, request_size, response_size, user_id, "
    "error_fingerprint"
)
_JSON_FIELDS = (
    "traceId", "direction", "method", "host", "path", "statusCode", "durationMs", "requestSize", "responseSize",
    "userId", "errorFingerprint",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The answers to an input, the rows they acknowledge, and what is wrong with them, if anything.

    `rows` are those that must be stored, None where only their number is known.
    """

    answers: tuple[str, ...]
    accepted: int = 0
    rows: tuple[Row, ...] | None = None
    problem: str | None = None


def rows_of_json(body: bytes) -> tuple[Row, ...]:
    """Return the rows of an accepted body, as another JSON parser reads it. Raises ValueError when it is not JSON."""
    batch = json.loads(body.decode(), parse_constant=_refuse_constant, parse_int=_parse_int)
    return tuple(_row(*(item.get(field) for field in _JSON_FIELDS)) for item in batch["requests"])


def rows_of_message(data: bytes) -> tuple[Row, ...]:
    """Return the rows of an accepted message."""
    return tuple(
        _row(
            item.trace_id, item.direction, item.method, item.host, item.path, item.status_code, item.duration_ms,
            item.request_size, item.response_size,
            item.user_id if item.HasField("user_id") else None,
            item.error_fingerprint if item.HasField("error_fingerprint") else None,
        )
        for item in IngestHttpRequestsRequest.FromString(data).requests
    )  # fmt: skip


def _row(trace_id: str, direction: str, method: str, host: str, path: str, *others: Any) -> Row:
    numbers, texts = others[:4], others[4:]
    return (trace_id, direction, method.upper(), host, path.replace("#", "?").split("?")[0], *map(int, numbers), *texts)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse_int(digits: str) -> int | float:
    # Python's int takes no more than 4,300 digits; only unknown fields may hold that much.
    return int(digits) if len(digits) < 100 else float("inf")
