"""What is summed up: groups of rows, and the levels and spans of time that they are stored by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from storage.rollups.buckets import add_buckets, encode_buckets

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


class RowGroup(NamedTuple):
    """What rows of a minute have in common; `minute_us` counts microseconds since 2000-01-01, as Postgres does."""

    project: int
    minute_us: int
    is_inbound: bool
    status_class: int
    method: str
    host: str
    endpoint: str


class Group(NamedTuple):
    """A group as it is stored; what its level does not tell apart is None."""

    project: int
    level: int
    start_us: int
    is_inbound: bool
    status_class: int
    method: str | None
    host: str | None
    endpoint: str | None


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

    def add_stored(self, integers: tuple[int, int, int, int, int], buckets: bytes) -> None:
        """Add a stored row: its sums in the order of the fields, and its buckets."""
        self.requests += integers[0]
        self.slow += integers[1]
        self.duration_ms += integers[2]
        self.request_bytes += integers[3]
        self.response_bytes += integers[4]
        add_buckets(self.buckets, buckets)

    def stored_buckets(self) -> bytes:
        """Return the buckets as they are stored."""
        return encode_buckets(self.buckets)


Groups = dict[Group, GroupSums]
RowGroups = Mapping[RowGroup, GroupSums]
