"""From sums to figures: rates, percentiles, points in time, groups in order."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from server.errors import ValidationFailedError
from server.query.answers import Bar, Distribution, Point, Stats, TimeSeries, TopEndpoint, TopHost
from storage.reading.sums import Sums
from storage.reading.totals import Sort, order_of
from storage.sketch import coarse_bounds, coarse_bucket_of, quantile

MOST_POINTS: Final = 300

_STEPS_S: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
)  # fmt: skip
_DAY_S: Final = _STEPS_S[-1]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
SORTS: Final[Mapping[str, Sort]] = {
    "failed": Sort.FAILED, "requests": Sort.REQUESTS, "time": Sort.TIME, "slowest": Sort.SLOWEST,
}  # fmt: skip


def to_stats(sums: Sums) -> Stats:
    """Return the figures of all rows."""
    p50, p90, p95, p99 = (quantile(sums.buckets, q) for q in (0.5, 0.9, 0.95, 0.99))
    return Stats(
        total_requests=sums.requests,
        failed_requests=sums.failed,
        error_rate=_rate(sums.failed, sums.requests),
        slow_rate=_rate(sums.slow, sums.requests),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        inbound_count=sums.inbound,
        outbound_count=sums.requests - sums.inbound,
        request_bytes=sums.request_bytes,
        response_bytes=sums.response_bytes,
    )


def choose_step(start: datetime, end: datetime, wanted_s: int | None) -> int:
    """Return the seconds of a step: those wanted, or for None the fewest that give at most MOST_POINTS steps.

    Raises ValidationFailedError when those wanted give more.
    """
    steps_s = (*_STEPS_S, -(-(end - start) // (_SECOND * _DAY_S * (MOST_POINTS - 1))) * _DAY_S)
    fewest_s = next(step_s for step_s in steps_s if len(_steps(start, end, step_s)) <= MOST_POINTS)
    if wanted_s is None:
        return fewest_s
    if len(_steps(start, end, wanted_s)) > MOST_POINTS:
        raise ValidationFailedError(
            {"step": f"must give at most {MOST_POINTS} points; for this range, {fewest_s} or more does"}
        )
    return wanted_s


def to_time_series(groups: Mapping[tuple[Any, ...], Sums], start: datetime, end: datetime, step_s: int) -> TimeSeries:
    """Return the points of all steps that a range touches; `groups` are by the number of their step since 1970."""
    steps = _steps(start, end, step_s)
    return TimeSeries(step_s, [_to_point(number * step_s, groups.get((number,)) or Sums()) for number in steps])


def to_distribution(sums: Sums) -> Distribution:
    """Return requests by their duration; of the bars between the first and the last one, empty ones are there, too."""
    counts: dict[int, int] = {}
    for bucket, requests in sums.buckets.items():
        coarse = coarse_bucket_of(bucket)
        counts[coarse] = counts.get(coarse, 0) + requests
    if not counts:
        return Distribution([])
    whole = range(min(counts), max(counts) + 1)
    bounds = {coarse: found for coarse in whole if (found := coarse_bounds(coarse)) is not None}
    return Distribution([Bar(*found, counts.get(coarse, 0)) for coarse, found in bounds.items()])


def to_hosts(groups: Mapping[tuple[Any, ...], Sums], sort: str, limit: int) -> list[TopHost]:
    """Return the first groups by host, in the order `sort`."""
    return [TopHost(*group, **_group_figures(sums)) for group, sums in _first(groups, sort, limit)]


def to_endpoints(groups: Mapping[tuple[Any, ...], Sums], sort: str, limit: int) -> list[TopEndpoint]:
    """Return the first groups by method, host and endpoint, in the order `sort`."""
    return [TopEndpoint(*group, **_group_figures(sums)) for group, sums in _first(groups, sort, limit)]


def _first(groups: Mapping[tuple[Any, ...], Sums], sort: str, limit: int) -> Iterable[tuple[tuple[Any, ...], Sums]]:
    # Equal groups are in the order of their names, so that the same question has the same answer.
    named = sorted(groups.items())
    return sorted(named, key=lambda group: order_of(SORTS[sort], group[1]), reverse=True)[:limit]


def _group_figures(sums: Sums) -> dict[str, Any]:
    return {
        "total_requests": sums.requests,
        "failed_requests": sums.failed,
        "failure_rate": _rate(sums.failed, sums.requests),
        "avg_duration_ms": round(sums.duration_ms / sums.requests, 2),
        "p50": quantile(sums.buckets, 0.5),
        "p95": quantile(sums.buckets, 0.95),
        "p99": quantile(sums.buckets, 0.99),
    }


def _to_point(begin_s: int, sums: Sums) -> Point:
    p50, p95, p99 = (quantile(sums.buckets, q) for q in (0.5, 0.95, 0.99))
    return Point(
        timestamp=_EPOCH + timedelta(seconds=begin_s),
        total_requests=sums.requests,
        failed_requests=sums.failed,
        slow_requests=sums.slow,
        p50=p50,
        p95=p95,
        p99=p99,
        request_bytes=sums.request_bytes,
        response_bytes=sums.response_bytes,
    )


def _steps(start: datetime, end: datetime, step_s: int) -> range:
    """Return the numbers of the steps since 1970 that a range touches."""
    step = timedelta(seconds=step_s)
    return range((start - _EPOCH) // step, -((_EPOCH - end) // step))


def _rate(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
