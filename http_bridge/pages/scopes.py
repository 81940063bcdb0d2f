"""The page of an endpoint or of a host: its figures over time, how its durations are distributed, what failed last."""

from collections.abc import Mapping
from dataclasses import dataclass

from http_bridge.pages import asking, formats
from http_bridge.pages.asking import Asking
from http_bridge.pages.charts import Chart, distribution_chart
from http_bridge.pages.figures import Figures, PendingFigures
from http_bridge.pages.groups import Group, PendingGroups
from http_bridge.pages.ranges import Range
from server.query.answers import Bar, Distribution, Item
from server.query.relay.client import QueryRelay

MOST_FAILURES = 10


@dataclass(frozen=True, slots=True)
class Scope:
    """What such a page shows; `endpoints` are those of a host."""

    figures: Figures
    durations: Chart
    failures: list[Item]
    endpoints: list[Group]


def read_scope(relay: QueryRelay, period: Range, filters: Mapping[str, str], sort: str | None) -> Scope:
    """Ask for all that the page of an endpoint shows; with `sort`, that of a host. Raises IngestError."""
    asked = {**filters, **period.parameters}
    with Asking(relay) as questions:
        figures = PendingFigures(questions, period, filters)
        distribution = questions.ask(asking.DISTRIBUTION, asked)
        failures = questions.ask(
            asking.LIST, {**asked, "statusGroup": "failed", "perPage": MOST_FAILURES, "mostCounted": 0}
        )
        endpoints = None
        if sort is not None:
            direction, others = filters["direction"], {"host": filters["host"]}
            endpoints = PendingGroups(questions, asking.TOP_ENDPOINTS, period, direction, sort, others)
        return Scope(
            figures.get(),
            durations_chart(distribution.get()),
            failures.get().items,
            endpoints.get() if endpoints is not None else [],
        )


def durations_chart(distribution: Distribution) -> Chart:
    """Return the number of requests by duration; the axis is logarithmic."""
    bars = [(formats.duration(bar.from_ms), _bounds(bar), float(bar.total_requests)) for bar in distribution.bars]
    return distribution_chart(bars, "Requests", formats.count)


def _bounds(bar: Bar) -> str:
    first, last = formats.duration(bar.from_ms), formats.duration(bar.to_ms)
    return first if first == last else f"{first} to {last}"
