"""What queries answer. In JSON a field has its name in camel case; in protobuf it has its name as it is.

Tests hold the .proto file to these. Durations are in milliseconds, sizes in bytes, rates in per cent to two decimals.
"""

from datetime import datetime
from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """Base of all that is answered."""


class Item(Answer, frozen=True):
    """A stored request."""

    id: str
    trace_id: str
    direction: str
    method: str
    host: str
    path: str
    status_code: int
    duration_ms: int
    request_size: int
    response_size: int
    is_slow: bool
    user_id: str | None
    error_fingerprint: str | None
    timestamp: datetime
    received_at: datetime


class Pagination(Answer, frozen=True):
    """Which page of how many; `page` is None after a cursor, `next_cursor` on the last page."""

    page: int | None
    per_page: int
    total: int
    total_is_exact: bool
    next_cursor: str | None


class ItemPage(Answer, frozen=True):
    """A page of the list."""

    items: list[Item]
    pagination: Pagination


class Trace(Answer, frozen=True):
    """The requests of a trace."""

    items: list[Item]


class Arrivals(Answer, frozen=True):
    """Requests that have arrived, in that order; `dropped` before them were left out."""

    items: list[Item]
    dropped: int


class Stats(Answer, frozen=True):
    """Sums over requests; percentiles are None when there are none."""

    total_requests: int
    failed_requests: int
    error_rate: float
    slow_rate: float
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    inbound_count: int
    outbound_count: int
    request_bytes: int
    response_bytes: int


class Point(Answer, frozen=True):
    """Sums over the requests of a step that begins at `timestamp`."""

    timestamp: datetime
    total_requests: int
    failed_requests: int
    slow_requests: int
    p50: float | None
    p95: float | None
    p99: float | None
    request_bytes: int
    response_bytes: int


class TimeSeries(Answer, frozen=True):
    """Sums over requests by steps of time."""

    step_seconds: int
    points: list[Point]


class Bar(Answer, frozen=True):
    """The requests whose durations are from `from_ms` to `to_ms`, both of them included."""

    from_ms: int
    to_ms: int
    total_requests: int


class Distribution(Answer, frozen=True):
    """Requests by their duration, the shortest first; bounds are about 15 % apart."""

    bars: list[Bar]


class TopHost(Answer, frozen=True):
    """Sums over the requests of a host."""

    host: str
    total_requests: int
    failed_requests: int
    failure_rate: float
    avg_duration_ms: float
    p50: float
    p95: float
    p99: float


class TopEndpoint(Answer, frozen=True):
    """Sums over the requests of an endpoint."""

    method: str
    host: str
    endpoint: str
    total_requests: int
    failed_requests: int
    failure_rate: float
    avg_duration_ms: float
    p50: float
    p95: float
    p99: float


class TopHosts(Answer, frozen=True):
    """Hosts, in the order that was asked for."""

    items: list[TopHost]


class TopEndpoints(Answer, frozen=True):
    """Endpoints, in the order that was asked for."""

    items: list[TopEndpoint]


def as_dict(answer: Answer) -> dict[str, Any]:
    """Return the fields of an answer by their names in Python; what is in them stays as it is."""
    return msgspec.structs.asdict(answer)
