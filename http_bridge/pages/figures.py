"""The figures of some requests over time, with their charts, as the overview and the pages below it show them."""

from collections.abc import Mapping
from dataclasses import dataclass

from http_bridge.pages import asking, formats
from http_bridge.pages.asking import Asking
from http_bridge.pages.changes import Change, rate_change, relative_change
from http_bridge.pages.charts import Chart, Series, Times, line_chart
from http_bridge.pages.ranges import Range
from server.query.answers import Point, Stats, TimeSeries

_LEAST_TOP_PERCENT = 1.0  # an axis that is all about 0.01 % would look alarming


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of a step, for the table."""

    point: Point
    per_second: float | None
    error_rate: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a range, what has changed against the one before, and charts over time."""

    stats: Stats
    per_second: float
    inbound_share: float
    requests_change: Change | None
    errors_change: Change | None
    duration_change: Change | None
    requests: Chart
    errors: Chart
    durations: Chart
    rows: list[Row]


class PendingFigures:
    """Figures that were asked for."""

    def __init__(self, questions: Asking, period: Range, filters: Mapping[str, object]) -> None:
        """Ask for the figures of the requests in a range that filters select."""
        self._period = period
        self._stats = questions.ask(asking.STATS, {**filters, **period.parameters})
        earlier = period.before
        self._before = questions.ask(asking.STATS, {**filters, **earlier.parameters}) if earlier is not None else None
        self._series = questions.ask(asking.TIME_SERIES, {**filters, **period.parameters, "step": period.step_s})

    def get(self) -> Figures:
        """Return the figures, once they are there. Raises IngestError."""
        before = self._before.get() if self._before is not None else None
        return _to_figures(self._period, self._stats.get(), before, self._series.get())


def _to_figures(period: Range, stats: Stats, before: Stats | None, series: TimeSeries) -> Figures:
    times = times_of(period, series)
    rows = [_to_row(point, times.seconds_of(index)) for index, point in enumerate(series.points)]
    percentiles = [
        Series(name, name, [getattr(point, name) for point in series.points]) for name in ("p99", "p95", "p50")
    ]
    has_before = before is not None and before.total_requests > 0
    per_second = stats.total_requests / period.seconds
    earlier = period.before
    per_second_before = before.total_requests / earlier.seconds if before is not None and earlier is not None else None
    return Figures(
        stats=stats,
        per_second=per_second,
        inbound_share=100 * stats.inbound_count / stats.total_requests if stats.total_requests else 0.0,
        requests_change=relative_change(per_second, per_second_before),
        errors_change=rate_change(stats.error_rate, before.error_rate) if before and has_before else None,
        duration_change=relative_change(stats.p95, before.p95 if before else None, is_worse_up=True),
        requests=line_chart(times, [Series("Requests", "accent", [row.per_second for row in rows])], formats.rate),
        errors=line_chart(
            times,
            [Series("Failed", "failed", [row.error_rate for row in rows])],
            formats.percent,
            least_top=_LEAST_TOP_PERCENT,
        ),
        durations=line_chart(times, percentiles, formats.duration),
        rows=rows,
    )


def times_of(period: Range, series: TimeSeries) -> Times:
    """Return where the steps of an answer stand in a range."""
    first = series.points[0].timestamp if series.points else period.start
    return Times(period.start, period.end, first, series.step_seconds)


def _to_row(point: Point, seconds: float) -> Row:
    per_second = point.total_requests / seconds if seconds else None
    error_rate = 100 * point.failed_requests / point.total_requests if point.total_requests else None
    return Row(point, per_second, error_rate)
