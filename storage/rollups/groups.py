"""What is summed up: groups of rows, and the levels and spans of time that they are stored by."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

SLOW_MS: Final = 1000
MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US


class Level(IntEnum):
    """By what the rows of a span of time are grouped, beside project, direction and status class."""

    PROJECT = 0
    HOST = 1  # method and host
    ENDPOINT = 2  # method, host and endpoint


class Span(IntEnum):
    """The tables: a row is about a minute, an hour or a day of UTC."""

    MINUTE = 0
    HOUR = 1
    DAY = 2

    @property
    def length_us(self) -> int:
        """The length in microseconds."""
        return (MINUTE_US, HOUR_US, DAY_US)[self]

    @property
    def table(self) -> str:
        """The table."""
        return ("rollup_minutes", "rollup_hours", "rollup_days")[self]


class Times(NamedTuple):
    """Which times each table has, in microseconds since 2000-01-01, as Postgres counts."""

    kept_from_us: int | None  # hours and days are kept from here on; None: all are
    minutes_from_us: int
    hours_until_us: int
    days_until_us: int


class DayName(NamedTuple):
    """What rows of a project's day have in common; days since 2000-01-01."""

    project: int
    day: int
    method: str
    host: str
    endpoint: str


class Stored(NamedTuple):
    """A row of a table: groups of one project, level and span of time, in their stored form."""

    span: int
    project: int
    level: int
    start_us: int
    groups: bytes


@dataclass(slots=True)
class GroupSums:
    """Sums over the rows of a group; milliseconds and bytes."""

    requests: int = 0
    slow: int = 0
    duration_ms: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, other: "GroupSums") -> None:
        """Add the sums over further rows."""
        self.requests += other.requests
        self.slow += other.slow
        self.duration_ms += other.duration_ms
        self.request_bytes += other.request_bytes
        self.response_bytes += other.response_bytes
        buckets = self.buckets
        for bucket, requests in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + requests
