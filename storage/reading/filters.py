"""Which rows a query is about, and the conditions of SQL for that.

A condition is a constant with named parameters. Which of them stand in a query depends on what is given; their values
are bound.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from storage.endpoints import like_pattern_of, pattern_of

SLOW_MS: Final = 1000
# Status codes by group: from, and below.
STATUS_GROUPS: Final[Mapping[str, tuple[int, int]]] = {
    "2xx": (200, 300), "3xx": (300, 400), "4xx": (400, 500), "5xx": (500, 600), "0": (0, 1),
}  # fmt: skip
FAILED: Final = "failed"  # the groups 0, 4xx and 5xx together
_FAILED_CLASSES: Final = (0, *range(4, 16))


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows of the project of that number from `start` up to, not including, `end`; None further on is any value."""

    project: int
    start: datetime
    end: datetime
    direction: str | None = None
    method: str | None = None
    status_group: str | None = None
    status: int | None = None
    host: str | None = None
    path: str | None = None  # a part of the path, in any case
    endpoint: str | None = None
    user_id: str | None = None
    error_fingerprint: str | None = None
    min_duration_ms: int | None = None
    below: int | None = None  # of transactions below this one


ALWAYS: Final = 'project = %(project)s AND "timestamp" >= %(start)s AND "timestamp" < %(end)s'
_WHERE_GIVEN: Final[Mapping[str, str]] = {
    "direction": "is_inbound = (%(direction)s = 'inbound')",
    "method": "method = %(method)s",
    "status_group": "status_code >= %(lowest_status)s AND status_code < %(end_status)s",
    "status": "status_code = %(status)s",
    "host": "host = %(host)s",
    "path": "path ILIKE %(path_pattern)s",
    "endpoint": "path LIKE %(endpoint_like)s AND path ~ %(endpoint_pattern)s",
    "user_id": "user_id = %(user_id)s",
    "error_fingerprint": "error_fingerprint = %(error_fingerprint)s",
    "min_duration_ms": "coalesce(duration_ms, long_duration_ms) >= %(min_duration_ms)s",
    "below": "transaction < %(below)s",
}
_WHERE_FAILED: Final = "(status_code = 0 OR status_code >= 400)"
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_LIKE = re.compile(r"[\\%_]")


def status_classes(group: str) -> tuple[int, ...]:
    """Return the hundreds of the status codes of a group."""
    return _FAILED_CLASSES if group == FAILED else (STATUS_GROUPS[group][0] // 100,)


def conditions_of(rows: Filter) -> str:
    """Return what stands behind WHERE."""
    conditions = {**_WHERE_GIVEN, "status_group": _WHERE_FAILED} if rows.status_group == FAILED else _WHERE_GIVEN
    given = [condition for name, condition in conditions.items() if getattr(rows, name) is not None]
    return " AND ".join((ALWAYS, *given))


def values_of(rows: Filter) -> dict[str, object]:
    """Return the values of the parameters in those conditions."""
    values: dict[str, object] = {name: getattr(rows, name) for name in Filter.__dataclass_fields__}
    if rows.status_group is not None and rows.status_group != FAILED:
        values["lowest_status"], values["end_status"] = STATUS_GROUPS[rows.status_group]
    if rows.path is not None:
        values["path_pattern"] = "%" + _LIKE.sub(r"\\\g<0>", rows.path) + "%"
    if rows.endpoint is not None:
        values["endpoint_like"] = like_pattern_of(rows.endpoint)
        values["endpoint_pattern"] = pattern_of(rows.endpoint)
    return values


def numbered(statement: str, number: int) -> str:
    """Return a part of a statement with parameters of its own: a number is added to the name of each."""
    return _PARAMETER.sub(rf"%(\1_{number})s", statement)
