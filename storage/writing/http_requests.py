"""The columns of `http_request_rows` as they are written; migrations make the table, and a test compares the two."""

import re
from collections.abc import Sequence

from storage.writing.row_encoding import Column, RowFormat, Values
from storage.writing.row_form import Value

LARGEST_INTEGER = 2**31 - 1
# Values that may be larger than a column of 4 bytes holds; those that are have a column of 8 bytes.
_LONG = ("duration_ms", "request_size", "response_size")
# A W3C trace id (Trace Context, 3.2.2.3); a row has it as 16 bytes.
_W3C_TRACE = re.compile("[0-9a-f]{32}")


def _to_stored(values: Values) -> Values:
    """Return the values of a batch, by the names of the contract's fields, as the table's columns have them."""
    traces = [bytes.fromhex(trace) if _W3C_TRACE.fullmatch(trace) else None for trace in values["trace_id"]]
    stored: dict[str, Sequence[Value | bytes]] = {
        **values,
        "is_inbound": [direction == "inbound" for direction in values["direction"]],
        "trace": traces,
        "other_trace": [
            sent if trace is None else None for sent, trace in zip(values["trace_id"], traces, strict=True)
        ],
    }
    for name in _LONG:
        stored[name], stored[f"long_{name}"] = _split(values[name])
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
    sent = {name: value for name, value in row.items() if not name.startswith("long_")}
    sent["direction"] = "inbound" if sent.pop("is_inbound") else "outbound"
    trace, other_trace = sent.pop("trace"), sent.pop("other_trace")
    sent["trace_id"] = other_trace if trace is None else str(trace).replace("-", "")
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
