"""What a worker process counts, in memory that it shares with the supervisor.

Each place for a worker has an anonymous file (memfd) of its own. Only the worker that has the place writes to it, so
there are no locks, and a restarted worker goes on counting where the one before it ended.

Why not prometheus_client's multiprocess mode: counting a request takes 5.8 µs there and 0.5 µs here, and a worker that
was killed leaves two files and its gauges behind until they are removed.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import product
from typing import Final, NamedTuple, TypeAlias

from server.contract.batch import IDEMPOTENCY_FIELD
from server.contract.fields import FIELDS
from server.contract.query_method import QueryMethod
from server.errors import ErrorCode
from storage.writing.flush_report import FlushReport

PREFIX: Final = "seestack_"
ACCEPTED: Final = "accepted"
ANSWERED: Final = "answered"
ABANDONED: Final = "abandoned"  # the client went, or its deadline passed, before there was an answer
STOPPED: Final = "stopped"  # a stream that its worker ended to stop itself, with all its batches answered
# Where a batch can be wrong: the fields of an item, and what is around them.
REFUSABLE_FIELDS: Final = (
    "body", IDEMPOTENCY_FIELD, "projectId", "requests", *(field.json_name for field in FIELDS)
)  # fmt: skip

Labels: TypeAlias = tuple[str, ...]
Cells: TypeAlias = "memoryview[float]"

_CELL_BYTES = 8
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS = (1, 10, 100, 300, 1_000, 3_000, 10_000, 30_000)
_BYTES = (1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)


class Protocol(StrEnum):
    """The protocol by which a batch came."""

    HTTP = "http"
    GRPC = "grpc"
    GRPC_STREAM = "grpc_stream"


class Kind(StrEnum):
    """Kinds of Prometheus metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """A metric with all its label values, which are known beforehand. `bounds` are those of a histogram's buckets."""

    name: str
    help: str
    kind: Kind
    labels: Sequence[tuple[str, Iterable[str]]] = ()
    bounds: Sequence[float] = ()

    @property
    def children(self) -> Iterator[Labels]:
        """All combinations of label values."""
        return product(*(values for _, values in self.labels))

    @property
    def width(self) -> int:
        """Cells of a child: one, or a histogram's buckets (the last one without a bound) and the sum of its values."""
        return len(self.bounds) + 2 if self.kind is Kind.HISTOGRAM else 1


REQUESTS = Family(
    "requests",
    "Requests, or batches of a stream, that ended, by outcome: accepted, abandoned, stopped, or the error's code.",
    Kind.COUNTER,
    (("protocol", Protocol), ("outcome", (ACCEPTED, *ErrorCode, ABANDONED, STOPPED))),
)
DURATION = Family(
    "request_duration_seconds",
    "Time from the head of a request, or the message of a stream, to its answer.",
    Kind.HISTOGRAM,
    (("protocol", Protocol),),
    _SECONDS,
)
ROWS = Family("rows_accepted", "Rows that were acknowledged.", Kind.COUNTER, (("protocol", Protocol),))
REFUSED = Family(
    "batches_refused",
    "Batches with a wrong value in this field; a batch counts once for each such field.",
    Kind.COUNTER,
    (("field", REFUSABLE_FIELDS),),
)
FLUSH_DURATION = Family(
    "flush_duration_seconds", "Time from the begin of a COPY to its commit.", Kind.HISTOGRAM, (), _SECONDS
)
FLUSH_ROWS = Family("flush_rows", "Rows of a committed COPY.", Kind.HISTOGRAM, (), _ROWS)
FLUSH_BYTES = Family("flush_bytes", "Bytes of a committed COPY.", Kind.HISTOGRAM, (), _BYTES)
FLUSH_FAILURES = Family("flush_failures", "COPY commands that failed.", Kind.COUNTER)
LOOKUP_WAIT = Family(
    "key_lookup_wait_seconds",
    "Time that a request with a key not in the cache waited for the database.",
    Kind.HISTOGRAM,
    (),
    _SECONDS,
)
QUERIES = Family(
    "queries",
    "Queries that ended, by outcome: answered, abandoned, or the error's code.",
    Kind.COUNTER,
    (("method", QueryMethod), ("outcome", (ANSWERED, *ErrorCode, ABANDONED))),
)
QUERY_DURATION = Family(
    "query_duration_seconds",
    "Time from the head of a query to the end of its answer.",
    Kind.HISTOGRAM,
    (("method", QueryMethod),),
    _SECONDS,
)
TLS_FAILURES = Family(
    "tls_handshake_failures",
    "TLS handshakes that failed.",
    Kind.COUNTER,
    (("protocol", (Protocol.HTTP, Protocol.GRPC)),),
)
QUEUE_BATCHES = Family("write_queue_batches", "Batches taken and not yet durable.", Kind.GAUGE)
QUEUE_BYTES = Family("write_queue_bytes", "Bytes of the batches taken and not yet durable.", Kind.GAUGE)
CONNECTIONS = Family("database_connections", "Connections to Postgres that workers have, or are opening.", Kind.GAUGE)

FAMILIES: Final = (
    REQUESTS, DURATION, ROWS, REFUSED, FLUSH_DURATION, FLUSH_ROWS, FLUSH_BYTES, FLUSH_FAILURES, LOOKUP_WAIT,
    QUERIES, QUERY_DURATION, TLS_FAILURES,
    QUEUE_BATCHES, QUEUE_BYTES, CONNECTIONS,
)  # fmt: skip


def _lay_out() -> tuple[Mapping[str, Mapping[Labels, int]], int]:
    positions: dict[str, dict[Labels, int]] = {}
    size = 0
    for family in FAMILIES:
        positions[family.name] = {}
        for labels in family.children:
            positions[family.name][labels] = size
            size += family.width
    return positions, size


# The first cell of each child, by the name of its family.
POSITIONS, SIZE = _lay_out()


def create_cells() -> int:
    """Return a descriptor of new shared memory, all zeros."""
    descriptor = os.memfd_create("seestack-metrics")
    os.ftruncate(descriptor, SIZE * _CELL_BYTES)
    return descriptor


def map_cells(descriptor: int) -> Cells:
    """Return the cells of shared memory."""
    return memoryview(mmap.mmap(descriptor, SIZE * _CELL_BYTES)).cast("d")


def clear_gauges(cells: Cells) -> None:
    """Reset the gauges of a worker that has ended."""
    for family in FAMILIES:
        if family.kind is Kind.GAUGE:
            for position in POSITIONS[family.name].values():
                cells[position] = 0.0


class WorkerMetrics:
    """Counts what happens in one process."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._requests = POSITIONS[REQUESTS.name]
        self._durations = {protocol: _Histogram(cells, DURATION, protocol) for protocol in Protocol}
        self._rows = {protocol: POSITIONS[ROWS.name][protocol,] for protocol in Protocol}
        self._refused = POSITIONS[REFUSED.name]
        self._flush_duration = _Histogram(cells, FLUSH_DURATION)
        self._flush_rows = _Histogram(cells, FLUSH_ROWS)
        self._flush_bytes = _Histogram(cells, FLUSH_BYTES)
        self._flush_failures = POSITIONS[FLUSH_FAILURES.name][()]
        self._lookup_wait = _Histogram(cells, LOOKUP_WAIT)
        self._queries = POSITIONS[QUERIES.name]
        self._query_durations = {method: _Histogram(cells, QUERY_DURATION, method) for method in QueryMethod}
        self._tls_failures = POSITIONS[TLS_FAILURES.name]
        self._queue_batches = POSITIONS[QUEUE_BATCHES.name][()]
        self._queue_bytes = POSITIONS[QUEUE_BYTES.name][()]
        self._connections = POSITIONS[CONNECTIONS.name][()]

    def count_request(self, protocol: Protocol, outcome: str, duration_s: float) -> None:
        """Count a request that ended: ACCEPTED, ABANDONED, STOPPED, or an ErrorCode."""
        self._cells[self._requests[protocol, outcome]] += 1
        self._durations[protocol].observe(duration_s)

    def count_rows(self, protocol: Protocol, rows: int) -> None:
        """Count rows that were acknowledged."""
        self._cells[self._rows[protocol]] += rows

    def count_refused(self, fields: Iterable[str]) -> None:
        """Count a batch that was refused for these of REFUSABLE_FIELDS."""
        for field in fields:
            self._cells[self._refused[field,]] += 1

    def count_flush(self, report: FlushReport) -> None:
        """Count a COPY that ended."""
        if report.is_stored:
            self._flush_duration.observe(report.duration_s)
            self._flush_rows.observe(report.rows)
            self._flush_bytes.observe(report.size_bytes)
        else:
            self._cells[self._flush_failures] += 1

    def observe_lookup_wait(self, wait_s: float) -> None:
        """Count a request that waited for the look-up of its key."""
        self._lookup_wait.observe(wait_s)

    def count_query(self, method: QueryMethod, outcome: str, duration_s: float) -> None:
        """Count a query that ended: ANSWERED, ABANDONED, or an ErrorCode."""
        self._cells[self._queries[method, outcome]] += 1
        self._query_durations[method].observe(duration_s)

    def count_failed_handshake(self, protocol: Protocol) -> None:
        """Count a TLS handshake that failed."""
        self._cells[self._tls_failures[protocol,]] += 1

    def set_write_queue(self, batches: int, size_bytes: int) -> None:
        """Note what is taken and not yet durable."""
        self._cells[self._queue_batches] = batches
        self._cells[self._queue_bytes] = size_bytes

    def set_connections(self, count: int) -> None:
        """Note how many connections to Postgres there are now."""
        self._cells[self._connections] = count


class _Histogram:
    """One child of a histogram."""

    def __init__(self, cells: Cells, family: Family, *labels: str) -> None:
        self._cells = cells
        self._bounds = family.bounds
        self._first = POSITIONS[family.name][labels]
        self._sum = self._first + family.width - 1

    def observe(self, value: float) -> None:
        self._cells[self._first + bisect_left(self._bounds, value)] += 1
        self._cells[self._sum] += value
