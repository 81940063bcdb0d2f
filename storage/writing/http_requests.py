"""The columns of `http_request_rows` as they are written; migrations make the table, and a test compares the two."""

from collections.abc import Sequence

from storage.trace_ids import to_stored_trace_id
from storage.writing.row_encoding import Column, RowFormat, Values
from storage.writing.row_form import Value

LARGEST_INTEGER = 2**31 - 1
# Values that may be larger than a column of 4 bytes holds; those that are have a column of 8 bytes.
_LONG = ("duration_ms", "request_size", "response_size")
LONG_PREFIX = "long_"


def _to_stored(values: Values) -> Values:
    """Return the values of a batch, by the names of the contract's fields, as the table's columns have them."""
    traces, are_dashed, other_traces = zip(*map(to_stored_trace_id, values["trace_id"]), strict=True)
    stored: dict[str, Sequence[Value | bytes]] = {
        **values,
        "is_inbound": [direction == "inbound" for direction in values["direction"]],
        "trace_is_dashed": are_dashed,
        "trace": traces,
        "other_trace": other_traces,
    }
    for name in _LONG:
        stored[name], stored[LONG_PREFIX + name] = _split(values[name])
    return stored


def _split(numbers: Sequence[int]) -> tuple[Sequence[int | None], Sequence[int | None]]:
    """Return those numbers that fit 4 bytes, and the others, each with None in the places of the rest."""
    if max(numbers) <= LARGEST_INTEGER:
        return numbers, [None] * len(numbers)
    return (
        [number if number <= LARGEST_INTEGER else None for number in numbers],
        [number if number > LARGEST_INTEGER else None for number in numbers],
    )


def to_sent(row: "dict[str, Value]") -> "dict[str, Value]":
    """Return a row of any form, by column, by the names of the contract's fields."""
    if "is_inbound" not in row:
        return row
    sent = {name: value for name, value in row.items() if not name.startswith(LONG_PREFIX)}
    sent["direction"] = "inbound" if sent.pop("is_inbound") else "outbound"
    trace, is_dashed, other_trace = sent.pop("trace"), sent.pop("trace_is_dashed"), sent.pop("other_trace")
    digits = str(trace) if is_dashed else str(trace).replace("-", "")
    sent["trace_id"] = other_trace if trace is None else digits
    for name in _LONG:
        if sent[name] is None:
            sent[name] = row[f"long_{name}"]
    return sent


HTTP_REQUESTS = RowFormat(
    "http_request_rows",
    (
        Column("timestamp", "timestamptz"),
        Column("duration_ms", "integer", nullable=True),
        Column("request_size", "integer", nullable=True),
        Column("response_size", "integer", nullable=True),
        Column("status_code", "smallint"),
        Column("is_inbound", "boolean"),
        Column("trace_is_dashed", "boolean"),
        Column("trace", "uuid", nullable=True),
        # A sender calls few hosts and sees few errors, so these values repeat.
        Column("method", "text", repeats=True),
        Column("host", "text", repeats=True),
        Column("path", "text"),
        Column("other_trace", "text", nullable=True),
        Column("user_id", "text", nullable=True),
        Column("error_fingerprint", "text", nullable=True, repeats=True),
        Column("long_duration_ms", "bigint", nullable=True),
        Column("long_request_size", "bigint", nullable=True),
        Column("long_response_size", "bigint", nullable=True),
    ),
    _to_stored,
)
