"""The explorer: requests that filters select, over time and one by one, and one of them in full."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from http_bridge.pages import asking, formats
from http_bridge.pages.asking import Asking, Pending
from http_bridge.pages.charts import Chart, Series, bar_chart
from http_bridge.pages.figures import times_of
from http_bridge.pages.formats import iso
from http_bridge.pages.ranges import Range, parse_moment
from server.query.answers import Item, ItemPage, TimeSeries
from server.query.relay.client import QueryRelay

PER_PAGE = 50
MOST_PER_PAGE = 200


@dataclass(frozen=True, slots=True)
class Exploration:
    """What the explorer shows; `item` is the request that was chosen, None when there is none."""

    page: ItemPage
    over_time: Chart
    total: int
    failed: int
    item: Item | None


def explore(
    relay: QueryRelay, period: Range, filters: Mapping[str, str], cursor: str | None, chosen: tuple[str, str] | None
) -> Exploration:
    """Ask all that the explorer shows; `chosen` is the id and the time of a request. Raises IngestError."""
    with Asking(relay) as questions:
        asked = {**filters, **period.parameters}
        page = questions.ask(asking.LIST, {**asked, "perPage": PER_PAGE, "cursor": cursor, "mostCounted": 0})
        series = questions.ask(asking.TIME_SERIES, {**asked, "step": period.step_s})
        item = ask_item(questions, *chosen) if chosen is not None else None
        points = series.get().points
        return Exploration(
            page.get(),
            counts_over_time(period, series.get()),
            sum(point.total_requests for point in points),
            sum(point.failed_requests for point in points),
            find_item(item, chosen[0]) if chosen is not None and item is not None else None,
        )


def counts_over_time(period: Range, series: TimeSeries) -> Chart:
    """Return a histogram of requests over time, those that failed on top."""
    passed = [float(point.total_requests - point.failed_requests) for point in series.points]
    failed = [float(point.failed_requests) for point in series.points]
    times = times_of(period, series)
    return bar_chart(times, [Series("Passed", "ok", passed), Series("Failed", "failed", failed)], formats.count)


def ask_item(questions: Asking, identifier: str, at: str) -> Pending[ItemPage]:
    """Ask for a request by its time; there is no query by id. Raises ValidationFailedError for what is no time."""
    moment = parse_moment("at", at)
    return questions.ask(
        asking.LIST, {"from": iso(moment), "to": iso(_next(moment)), "perPage": MOST_PER_PAGE, "mostCounted": 0}
    )


def find_item(found: Pending[ItemPage], identifier: str) -> Item | None:
    """Return the request of an id among those of its time, None when it is not there. Raises IngestError."""
    return next((item for item in found.get().items if item.id == identifier), None)


def read_item(relay: QueryRelay, identifier: str, at: str) -> Item | None:
    """Return a request by id and time. Raises IngestError."""
    with Asking(relay) as questions:
        return find_item(ask_item(questions, identifier, at), identifier)


def _next(moment: datetime) -> datetime:
    return min(moment, datetime.max.replace(tzinfo=moment.tzinfo) - timedelta(microseconds=1)) + timedelta(
        microseconds=1
    )
