"""What queries answer, from a list of rows, as plainly as can be."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from storage.endpoints import endpoint_of

Row = dict[str, Any]


class Rows(list[Row]):
    """All rows of a project; Hypothesis would print them all."""

    def __repr__(self) -> str:
        return f"{len(self)} rows"


FILTERS: dict[str, Callable[[Row, Any], bool]] = {
    "direction": lambda row, value: row["direction"] == value,
    "method": lambda row, value: row["method"] == value.upper(),
    "statusGroup": lambda row, value: (
        has_failed(row) if value == "failed" else row["status_code"] // 100 == int(value[0])
    ),
    "status": lambda row, value: row["status_code"] == value,
    "host": lambda row, value: row["host"] == value,
    "path": lambda row, value: value.lower() in row["path"].lower(),
    "endpoint": lambda row, value: endpoint_of(row["path"]) == endpoint_of(value),
    "userId": lambda row, value: row["user_id"] == value,
    "errorFingerprint": lambda row, value: row["error_fingerprint"] == value,
    "minDurationMs": lambda row, value: row["duration_ms"] >= value,
}


def select(rows: Iterable[Row], parameters: dict[str, Any]) -> list[Row]:
    """Return the rows that parameters are about, newest first."""
    start, end = datetime.fromisoformat(parameters["from"]), datetime.fromisoformat(parameters["to"])
    found = [
        row
        for row in rows
        if start <= row["timestamp"] < end
        and all(matches(row, parameters[name]) for name, matches in FILTERS.items() if name in parameters)
    ]
    return sorted(found, key=lambda row: (row["timestamp"], row["id"]), reverse=True)


def has_failed(row: Row) -> bool:
    status: int = row["status_code"]
    return status == 0 or status >= 400


def slow(rows: Iterable[Row], slow_ms: int) -> int:
    return sum(row["duration_ms"] > slow_ms for row in rows)


def failed(rows: Iterable[Row]) -> int:
    return sum(map(has_failed, rows))


def total(rows: Iterable[Row], column: str) -> int:
    return sum(row[column] for row in rows)


def rate(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def is_percentile(value: float | None, rows: list[Row], q: float) -> bool:
    """Tell whether a value is the percentile of the durations, within 1 %."""
    if not rows:
        return value is None
    exact = sorted(row["duration_ms"] for row in rows)[max(1, math.ceil(q * len(rows))) - 1]
    return value is not None and abs(value - exact) <= 0.01 * exact


def group(rows: Iterable[Row], name: Callable[[Row], tuple[str, ...]]) -> dict[tuple[str, ...], list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[name(row)].append(row)
    return groups


def steps(parameters: dict[str, Any], step_s: int) -> list[datetime]:
    """Return the begins of all steps that a range touches."""
    start, end = datetime.fromisoformat(parameters["from"]), datetime.fromisoformat(parameters["to"])
    first = datetime.fromtimestamp(math.floor(start.timestamp()) // step_s * step_s, start.tzinfo)
    begins = []
    while first < end:
        begins.append(first)
        first += timedelta(seconds=step_s)
    return begins
