"""`GET /metrics` for Prometheus, on a port of its own: what all workers counted, and the state of the main process."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from server.compiled.encoder import is_chosen
from server.database.later_work import LaterWork
from server.database.limit_sharing import LimitSharing
from server.database.partition_upkeep import PartitionUpkeep
from server.database.rollup_upkeep import RollupUpkeep
from server.database.spool_drain import SpoolDrain
from server.observability.metrics import FAMILIES, POSITIONS, PREFIX, Family, Kind
from server.processes.supervisor import Supervisor
from server.settings import Settings
from server.spools import open_spool
from storage.errors import SpoolError

METRICS_PATH = "/metrics"
CLIENT_TIMEOUT_S = 5.0

_logger = logging.getLogger(__name__)


class MetricsPage:
    """A thread of the main process that answers on a listening socket until it is stopped."""

    def __init__(
        self,
        listener: socket.socket,
        settings: Settings,
        supervisor: Supervisor,
        partitions: PartitionUpkeep,
        later_work: LaterWork,
        rollups: RollupUpkeep,
        drain: SpoolDrain,
        limit_sharing: LimitSharing | None,
    ) -> None:
        registry = CollectorRegistry()
        registry.register(
            _MetricsCollector(settings, supervisor, partitions, later_work, rollups, drain, limit_sharing)
        )
        self._server = _Server(listener, registry)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._thread.join()


class _MetricsCollector(Collector):
    """Collects all metrics at each scrape."""

    def __init__(
        self,
        settings: Settings,
        supervisor: Supervisor,
        partitions: PartitionUpkeep,
        later_work: LaterWork,
        rollups: RollupUpkeep,
        drain: SpoolDrain,
        limit_sharing: LimitSharing | None,
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._partitions = partitions
        self._later_work = later_work
        self._rollups = rollups
        self._drain = drain
        self._limit_sharing = limit_sharing
        self._started_at = time.time()

    def describe(self) -> list[Metric]:
        """Tell the registry nothing beforehand, so that it does not collect at once."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        totals = [sum(values) for values in zip(*self._supervisor.cells, strict=True)]
        for family in FAMILIES:
            yield _metric_of(family, totals)
        yield from self._about_spool()
        yield from self._about_rollups()
        yield _gauge("missing_partitions", "Days near today whose partition is not made yet.", self._partitions.missing)
        yield _gauge(
            "days_to_close", "Days that are over whose index is not rebuilt yet.", self._later_work.days_to_close
        )
        yield _gauge(
            "unmoved_bytes", "Of the table of earlier versions, yet to be moved.", self._later_work.moving.unmoved_bytes
        )
        yield from self._about_retention()
        if self._limit_sharing is not None:
            yield from _about_limits(self._limit_sharing)
        restarts = CounterMetricFamily(
            f"{PREFIX}worker_restarts", "Workers that died and were started again.", labels=["kind"]
        )
        workers = GaugeMetricFamily(f"{PREFIX}workers", "Worker processes that run.", labels=["kind"])
        for kind, count in self._supervisor.restarts.items():
            restarts.add_metric([kind], count)
            workers.add_metric([kind], self._supervisor.live_workers(kind))
        yield restarts
        yield workers
        build = GaugeMetricFamily(f"{PREFIX}build_info", "1, labelled with the version.", labels=["version"])
        build.add_metric([version("seestack-ingest")], 1)
        yield build
        yield _gauge(
            "compiled",
            "1 when batches are checked and encoded by compiled code, 0 when by pure Python.",
            is_chosen(self._settings.compiled),
        )
        yield _gauge("process_start_time_seconds", "When the server was started, in Unix time.", self._started_at)

    def _about_rollups(self) -> Iterator[Metric]:
        figures = self._rollups.figures
        for name, documentation, value in (
            ("rolled_up_rows", "Rows that this server summed up in rollups.", figures.rows),
            (
                "rollup_handed_rows",
                "Of them, those that its processes handed over; the others were read from the table.",
                figures.handed_rows,
            ),
            ("rollup_groups", "Rows of rollups that this server wrote for them.", figures.stored),
            (
                "rollup_other_rows",
                "Rows that rollups count as {other}: too many hosts or endpoints.",
                figures.other_rows,
            ),
            ("rollup_failures", "Attempts to keep the rollups that failed.", figures.failures),
        ):
            counter = CounterMetricFamily(PREFIX + name, documentation)
            counter.add_metric([], value)
            yield counter
        yield _gauge("rollup_lag_seconds", "Age of the oldest row that may not be in the rollups.", figures.lag_s)
        yield _gauge(
            "rollup_lag_transactions",
            "Transactions since those whose rows are in the rollups.",
            figures.lag_transactions,
        )

    def _about_retention(self) -> Iterator[Metric]:
        retention = self._later_work.retention
        yield _counter("retention_dropped_days", "Days that were dropped for their age.", retention.dropped_days)
        yield _counter(
            "retention_deleted_rows", "Old rows of other days, and rows of deleted projects.", retention.deleted_rows
        )
        yield _gauge("retention_overdue_days", "Days that are too old, but still there.", retention.overdue_days)

    def _about_spool(self) -> Iterator[Metric]:
        failures = CounterMetricFamily(
            f"{PREFIX}spool_drain_failures", "Attempts to drain the spool that failed.", labels=["cause"]
        )
        for cause, count in self._drain.failures.items():
            failures.add_metric([cause], count)
        yield failures
        try:
            # Opened at each scrape: the file may have been replaced.
            spool = open_spool(self._settings)
            if spool is None:
                return
            with closing(spool):
                status = spool.status()
        except SpoolError as error:
            _logger.warning("%s", error)
            return
        yield _gauge("spool_batches", "Batches that wait on the local disk for the database.", status.batches)
        yield _gauge("spool_rows", "Rows of the batches in the spool.", status.rows)
        yield _gauge("spool_bytes", "Bytes of the batches in the spool.", status.size_bytes)
        yield _gauge("spool_oldest_age_seconds", "Age of the oldest batch in the spool.", status.oldest_age_s)
        yield _gauge(
            "spool_stalled_seconds", "How long batches have waited without any being stored.", status.stalled_s
        )
        yield _gauge("spool_refused_batches", "Spooled batches that Postgres refused.", status.refused)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, registry: CollectorRegistry) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.registry = registry

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong; the base class would print it."""
        _logger.warning("a scrape could not be answered", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != METRICS_PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        body = encode(self.server.registry)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
        """Log no scrapes."""


def _about_limits(sharing: LimitSharing) -> Iterator[Metric]:
    yield _gauge("limit_servers", "Servers that share the limits of keys, this one included.", sharing.servers)
    yield _counter("limit_sharing_failures", "Attempts to share the limits of keys that failed.", sharing.failures)


def _metric_of(family: Family, totals: list[float]) -> Metric:
    name = PREFIX + family.name
    labels = [label for label, _ in family.labels]
    positions = POSITIONS[family.name].items()
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, family.help, labels=labels)
        for values, first in positions:
            histogram.add_metric(values, *_buckets_and_sum(family, totals[first : first + family.width]))
        return histogram
    single = (CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily)(
        name, family.help, labels=labels
    )
    for values, position in positions:
        single.add_metric(values, totals[position])
    return single


def _buckets_and_sum(family: Family, cells: list[float]) -> tuple[list[tuple[str, float]], float]:
    """Return the buckets of a histogram as Prometheus has them, each counting all that is below it, and the sum."""
    *counts, total = cells
    bounds = [*map(str, map(float, family.bounds)), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True)), total


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, documentation, value)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, documentation, value)
