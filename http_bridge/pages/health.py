"""The server's own health, for operators: the figures of its metrics, and whether Postgres answers."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, Response, make_response, render_template

from http_bridge.http1.greenlets import wait
from http_bridge.pages import formats
from http_bridge.pages.sessions import require_admin
from http_bridge.pages.tasks import perform
from server.access.tasks import DatabaseState, DescribeDatabase
from server.errors import ErrorCode, IngestError, ServiceUnavailableError
from server.observability.scrape import Figures, read_metrics
from server.processes.listeners import reachable
from server.query.relay.client import QueryRelay
from server.settings import Settings

ADDRESS: Final = "/health"
# Above these an operator should look; docs/operating.md says what they mean.
MOST_LAG_S: Final = 300.0
MOST_QUEUED_BATCHES: Final = 1000
REFRESH_S: Final = 15

_WORKERS: Final = {"http": "HTTP", "grpc": "gRPC", "query": "Queries"}


@dataclass(frozen=True, slots=True)
class Line:
    """A figure; `problem` says what is wrong with it, "" when nothing is."""

    name: str
    value: str
    problem: str = ""


def add_health_view(pages: Blueprint, relay: QueryRelay, settings: Settings) -> None:
    """Add the page about the server's health."""

    @pages.get(ADDRESS)
    def show_health() -> Response:
        require_admin()
        database = _ask_database(relay)
        figures = _read(reachable(settings.metrics_host, settings.metrics_port))
        groups = describe(figures, database, _wanted_workers(settings))
        problems = [line for lines in groups.values() for line in lines if line.problem]
        started_at = datetime.fromtimestamp(figures.total("process_start_time_seconds"), UTC)
        page = render_template(
            "health.html", groups=groups, problems=problems, started_at=started_at, now=datetime.now(UTC),
            refresh_s=REFRESH_S,
        )  # fmt: skip
        return make_response(page)


def describe(figures: Figures, database: DatabaseState | None, wanted: Mapping[str, int]) -> dict[str, list[Line]]:
    """Return the lines of the page by their titles; `wanted` are the workers that should run, by kind."""
    return {
        "Postgres": list(_about_database(figures, database)),
        "Writing": list(_about_writing(figures)),
        "Spool": list(_about_spool(figures)),
        "Rollups": list(_about_rollups(figures)),
        "Workers": list(_about_workers(figures, wanted)),
        "Traffic": list(_about_traffic(figures)),
    }


def _about_database(figures: Figures, database: DatabaseState | None) -> Iterator[Line]:
    if database is None:
        yield Line("State", "down", "It does not answer. Batches wait in the spool, if there is one.")
    else:
        yield Line("State", f"up, version {database.version}")
        yield Line("Size on disk", formats.size(database.size_bytes))
        yield Line("Connections", f"{database.connections} in all")
    yield Line("Connections of workers", formats.count(figures.total("database_connections")))
    missing = figures.total("missing_partitions")
    yield Line(
        "Missing partitions", formats.count(missing),
        "Rows go to the default partition: the role may not make them, or a lock is in the way." if missing else "",
    )  # fmt: skip
    yield Line("Days to close", formats.count(figures.total("days_to_close")))
    overdue = figures.total("retention_overdue_days")
    yield Line(
        "Days past their retention",
        formats.count(overdue),
        "They could not be dropped yet: see the log." if overdue else "",
    )
    if unmoved := figures.total("unmoved_bytes"):
        yield Line("Of an earlier version, to be moved", formats.size(unmoved))


def _about_writing(figures: Figures) -> Iterator[Line]:
    queued = figures.total("write_queue_batches")
    yield Line(
        "Write queue", f"{formats.count(queued)} batches, {formats.size(figures.total('write_queue_bytes'))}",
        "More comes in than is stored." if queued > MOST_QUEUED_BATCHES else "",
    )  # fmt: skip
    mean, bound = figures.mean("flush_duration_seconds"), figures.bound("flush_duration_seconds", 0.95)
    yield Line("Time of a flush, mean", formats.duration(_to_ms(mean)))
    yield Line("95 % of them within", formats.duration(_to_ms(bound)))
    yield Line("Rows of a flush, mean", formats.count(figures.mean("flush_rows")))
    yield Line("Flushes", formats.count(figures.total("flush_duration_seconds_count")))
    yield Line("Failed flushes", formats.count(figures.total("flush_failures_total")))


def _about_spool(figures: Figures) -> Iterator[Line]:
    batches = figures.find("spool_batches")
    if batches is None:
        yield Line("State", "none", "")
        return
    size = formats.size(figures.total("spool_bytes"))
    yield Line(
        "Waiting", f"{formats.count(batches)} batches, {formats.count(figures.total('spool_rows'))} rows, {size}"
    )
    if batches:
        yield Line("Oldest", formats.duration(_to_ms(figures.total("spool_oldest_age_seconds"))))
    stalled = figures.total("spool_stalled_seconds")
    yield Line(
        "Stalled for", formats.duration(_to_ms(stalled or None)),
        "Batches wait and none gets into Postgres." if stalled else "",
    )  # fmt: skip
    refused = figures.total("spool_refused_batches")
    yield Line(
        "Refused by Postgres",
        formats.count(refused),
        "Look at them with `seestack-ingest spool list`." if refused else "",
    )
    yield Line("Failed attempts to drain", formats.count(figures.total("spool_drain_failures_total")))


def _about_rollups(figures: Figures) -> Iterator[Line]:
    lag = figures.total("rollup_lag_seconds")
    yield Line(
        "Lag", formats.duration(_to_ms(lag)),
        "Answers are still right, and slower: a transaction is open for long, or the machine is too busy."
        if lag > MOST_LAG_S else "",
    )  # fmt: skip
    yield Line("Lag in transactions", formats.count(figures.total("rollup_lag_transactions")))
    yield Line("Rows summed up", formats.count(figures.total("rolled_up_rows_total")))
    yield Line("Counted as {other}", formats.count(figures.total("rollup_other_rows_total")))
    yield Line("Failed attempts", formats.count(figures.total("rollup_failures_total")))


def _about_workers(figures: Figures, wanted: Mapping[str, int]) -> Iterator[Line]:
    for kind, count in wanted.items():
        running = figures.total("workers", kind=kind)
        yield Line(
            _WORKERS[kind], f"{running:.0f} of {count}",
            "They are started again; the log says why they ended." if running < count else "",
        )  # fmt: skip
    yield Line("Started again", formats.count(figures.total("worker_restarts_total")))
    yield Line("Encoding", "compiled" if figures.total("compiled") else "pure Python, which is slower")


def _about_traffic(figures: Figures) -> Iterator[Line]:
    yield Line("Rows acknowledged", formats.count(figures.total("rows_accepted_total")))
    requests = figures.by("outcome", "requests_total")
    yield Line("Requests accepted", formats.count(requests.pop("accepted", 0)))
    for outcome, count in sorted(requests.items()):
        if count:
            yield Line(f"Ended as {outcome.lower().replace('_', ' ')}", formats.count(count))
    yield Line("Queries", formats.count(figures.total("queries_total")))
    yield Line("Time of a query, mean", formats.duration(_to_ms(figures.mean("query_duration_seconds"))))


def _read(address: str) -> Figures:
    try:
        return wait(asyncio.to_thread(read_metrics, address))
    except (OSError, ValueError) as error:
        raise ServiceUnavailableError("The server's metrics cannot be read") from error


def _ask_database(relay: QueryRelay) -> DatabaseState | None:
    try:
        return perform(relay, DescribeDatabase(), DatabaseState)
    except IngestError as error:
        if error.code is ErrorCode.SERVICE_UNAVAILABLE:
            return None
        raise


def _wanted_workers(settings: Settings) -> dict[str, int]:
    return {"http": settings.http_workers, "grpc": settings.grpc_workers, "query": settings.query_workers}


def _to_ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
