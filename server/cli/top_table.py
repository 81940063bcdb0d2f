"""What `top` shows: figures of the last while, and the endpoints that matter most."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seestack.query.v1.query_pb2 import GetStatsRequest, ListTopEndpointsRequest, TopEndpoint
from server.cli.harmless import harmless, to_json
from server.cli.query_client import QueryClient
from server.cli.query_options import to_request
from server.cli.stats import milliseconds
from server.contract.query_method import QueryMethod

MOST_ENDPOINTS = 100
# Narrower terminals leave the columns out that are not needed most.
WIDE = 90

_ORDERS = {
    "failed": lambda endpoint: (endpoint.failed_requests, endpoint.total_requests),
    "requests": lambda endpoint: (endpoint.total_requests, endpoint.failed_requests),
    "time": lambda endpoint: (endpoint.total_requests * endpoint.avg_duration_ms, endpoint.total_requests),
}
SORTS = tuple(_ORDERS)


@dataclass(frozen=True)
class Frame:
    """Figures of the last while; `endpoints` are those of both directions, each with its own."""

    last: timedelta
    sort: str
    stats: Any
    endpoints: list[tuple[str, TopEndpoint]]

    def to_json(self) -> dict[str, Any]:
        """Return the figures for scripts."""
        items = [{"direction": direction, **to_json(endpoint)} for direction, endpoint in self.endpoints]
        return {"seconds": int(self.last.total_seconds()), "stats": to_json(self.stats), "items": items}


def read_frame(client: QueryClient, last: timedelta, filters: dict[str, Any], sort: str) -> Frame:
    """Ask for the figures of the last while. Raises QueryError."""
    stats = client.ask(QueryMethod.STATS, to_request(GetStatsRequest, last, **filters))
    endpoints: list[tuple[str, TopEndpoint]] = []
    for direction in (filters["direction"],) if "direction" in filters else ("inbound", "outbound"):
        asked = {**filters, "direction": direction, "sort": sort, "limit": MOST_ENDPOINTS}
        request = to_request(ListTopEndpointsRequest, last, **asked)
        endpoints += [(direction, item) for item in client.ask(QueryMethod.TOP_ENDPOINTS, request).items]
    endpoints.sort(key=lambda each: _ORDERS[sort](each[1]), reverse=True)
    return Frame(last, sort, stats, endpoints)


def render(frame: Frame, width: int, rows: int, note: str = "") -> RenderableType:
    """Return a frame as a table of at most so many rows; `note` stands below its head."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, padding=(0, 1, 0, 0))
    is_wide = width >= WIDE
    percentiles = ("p50", "p95", "p99") if is_wide else ("p95",)
    for name in ("req/s", *(("failed",) if is_wide else ()), "fail %", *percentiles):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("endpoint", no_wrap=True, overflow="ellipsis", ratio=1)
    seconds = frame.last.total_seconds()
    for direction, endpoint in frame.endpoints[:rows]:
        name = Text("in  " if direction == "inbound" else "out ", "dim").append(f"{harmless(endpoint.method)} ", "bold")
        name.append(harmless(endpoint.host), "dim").append(harmless(endpoint.endpoint))
        table.add_row(
            f"{endpoint.total_requests / seconds:,.1f}",
            *((f"{endpoint.failed_requests:,}",) if is_wide else ()),
            Text(f"{endpoint.failure_rate:.1f}", "bold red" if endpoint.failed_requests else ""),
            *(f"{getattr(endpoint, percentile):,.0f}" for percentile in percentiles),
            name,
        )
    head = Text(f"{_head(frame)}\n{note}".strip(), no_wrap=True, overflow="ellipsis")
    return Group(head, table)


def _head(frame: Frame) -> str:
    stats = frame.stats
    seconds = int(frame.last.total_seconds())
    rate = stats.total_requests / seconds
    figures = f"{rate:,.1f} req/s, {stats.error_rate:.2f} % failed, p95 {milliseconds(stats, 'p95')}"
    return f"last {seconds:,} s by {frame.sort}: {figures}"
