"""Every query against a plain model, over both protocols."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.contract.query_method import QueryMethod
from storage.endpoints import endpoint_of
from tests.query import data, model
from tests.query.asking import Asking
from tests.query.model import Row, Rows

moments = st.integers(-1, 24 * data.DAYS + 1).map(lambda hours: data.BEGIN + timedelta(hours=hours)) | st.integers(
    0, data.DAYS * 86_400_000_000
).map(lambda microseconds: data.BEGIN + timedelta(microseconds=microseconds))
OPTIONAL = {
    "direction": st.sampled_from(["inbound", "outbound"]),
    "method": st.sampled_from([*data.METHODS, "get", "PATCH"]),
    "statusGroup": st.sampled_from(["2xx", "3xx", "4xx", "5xx", "0", "failed"]),
    "status": st.sampled_from(data.STATUSES),
    "host": st.sampled_from([*data.HOSTS, "nowhere"]),
    "path": st.sampled_from(["orders", "HEALTH", "%", "_", "\\", "/1", "nothing"]),
    "endpoint": st.sampled_from(["/orders/{id}", "/orders/7/items", "/Health", "/100%_done\\x", "/files/{id}"]),
    "userId": st.sampled_from(["usr_1", "usr_3"]),
    "errorFingerprint": st.sampled_from(["timeout", "none"]),
    "minDurationMs": st.sampled_from([0, 1, 1000, 2**31, 2**63 - 1]),
}


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    start, end = sorted((draw(moments), draw(moments)))
    names = draw(st.sets(st.sampled_from(sorted(OPTIONAL)), max_size=3))
    given = {name: draw(OPTIONAL[name]) for name in sorted(names)}
    if draw(st.booleans()):
        given["slowMs"] = draw(st.sampled_from([0, 1, 1000, 2**31]))
    return {"from": start.isoformat(), "to": max(end, start + timedelta(microseconds=1)).isoformat(), **given}


several = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(asked=parameters(), per_page=st.integers(1, 200))
def test_the_list_has_all_rows_in_order(asking: Asking, rows: Rows, asked: dict[str, Any], per_page: int) -> None:
    expected = model.select(rows, asked)
    page = asking.both(QueryMethod.LIST, perPage=per_page, **asked)
    assert [item.id for item in page.items] == [str(row["id"]) for row in expected[:per_page]]
    partly = asking.both(QueryMethod.LIST, perPage=per_page, mostCounted=per_page // 2, **asked)
    assert partly.items == page.items
    assert partly.pagination.total == min(len(expected), per_page // 2)
    assert partly.pagination.total_is_exact == (0 < per_page // 2 >= len(expected))
    assert (page.pagination.total, page.pagination.total_is_exact) == (len(expected), True)
    for item, row in zip(page.items, expected, strict=False):
        columns = {name: getattr(item, name) for name in item.__struct_fields__ if name != "is_slow"}
        assert columns == {**{name: row[name] for name in columns}, "id": str(row["id"])}
        assert item.is_slow == (row["duration_ms"] > asked.get("slowMs", 1000))
    second = asking.both(QueryMethod.LIST, perPage=per_page, page=2, **asked)
    assert [item.id for item in second.items] == [str(row["id"]) for row in expected[per_page : 2 * per_page]]
    if len(expected) > per_page:
        after = asking.both(QueryMethod.LIST, perPage=per_page, cursor=page.pagination.next_cursor, **asked)
        assert after.items == second.items
        assert after.pagination.page is None
    else:
        assert page.pagination.next_cursor is None


@several
@given(asked=parameters())
def test_stats_are_the_sums_over_the_rows(asking: Asking, rows: Rows, asked: dict[str, Any]) -> None:
    expected = model.select(rows, asked)
    stats = asking.both(QueryMethod.STATS, **asked)
    assert stats.total_requests == len(expected)
    assert stats.failed_requests == model.failed(expected)
    assert stats.error_rate == model.rate(model.failed(expected), len(expected))
    assert stats.slow_rate == model.rate(model.slow(expected, asked.get("slowMs", 1000)), len(expected))
    assert stats.inbound_count == sum(row["direction"] == "inbound" for row in expected)
    assert stats.outbound_count == sum(row["direction"] == "outbound" for row in expected)
    assert stats.request_bytes == model.total(expected, "request_size")
    assert stats.response_bytes == model.total(expected, "response_size")
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        assert model.is_percentile(getattr(stats, name), expected, q)


@several
@given(asked=parameters(), step=st.sampled_from([None, "auto", "3600", "1000", "86400", "604800"]))
def test_a_time_series_has_every_step(asking: Asking, rows: Rows, asked: dict[str, Any], step: str | None) -> None:
    expected = model.select(rows, asked)
    series = asking.both(QueryMethod.TIME_SERIES, **asked, **({} if step is None else {"step": step}))
    step_s = series.step_seconds
    if step not in (None, "auto"):
        assert step_s == int(step or 0)
    assert len(series.points) <= 300
    assert [point.timestamp for point in series.points] == model.steps(asked, step_s)
    for point in series.points:
        end = point.timestamp + timedelta(seconds=step_s)
        of_step = [row for row in expected if point.timestamp <= row["timestamp"] < end]
        assert point.total_requests == len(of_step)
        assert point.failed_requests == model.failed(of_step)
        assert point.slow_requests == model.slow(of_step, asked.get("slowMs", 1000))
        assert point.request_bytes == model.total(of_step, "request_size")
        assert point.response_bytes == model.total(of_step, "response_size")
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert model.is_percentile(getattr(point, name), of_step, q)


@several
@given(asked=parameters())
def test_each_request_is_in_the_bar_of_its_duration(asking: Asking, rows: Rows, asked: dict[str, Any]) -> None:
    durations = [row["duration_ms"] for row in model.select(rows, asked)]
    bars = asking.both(QueryMethod.DISTRIBUTION, **asked).bars
    assert sum(bar.total_requests for bar in bars) == len(durations)
    for bar in bars:
        assert bar.total_requests == sum(bar.from_ms <= duration <= bar.to_ms for duration in durations)
        assert bar.to_ms < max(2, bar.from_ms * 1.2)
    assert all(bar.from_ms == before.to_ms + 1 for before, bar in pairwise(bars))


@several
@given(
    asked=parameters(),
    sort=st.sampled_from([None, "failed", "requests", "time", "slowest"]),
    limit=st.integers(1, 5),
)
@pytest.mark.parametrize("method", [QueryMethod.TOP_HOSTS, QueryMethod.TOP_ENDPOINTS])
def test_groups_have_the_sums_of_their_rows(
    asking: Asking, rows: Rows, asked: dict[str, Any], sort: str | None, limit: int, method: QueryMethod
) -> None:
    def name(row: Row) -> tuple[str, ...]:
        return (row["host"],) if method is QueryMethod.TOP_HOSTS else (row["method"], row["host"], endpoint(row))

    groups = model.group(model.select(rows, {"direction": "outbound", **asked}), name)
    answer = asking.both(method, **asked, limit=limit, **({} if sort is None else {"sort": sort}))
    assert len(answer.items) == min(limit, len(groups))
    orders: dict[str, Callable[[list[Row]], tuple[float, int]]] = {
        "failed": lambda of_group: (model.failed(of_group), len(of_group)),
        "requests": lambda of_group: (len(of_group), model.failed(of_group)),
        "time": lambda of_group: (model.total(of_group, "duration_ms"), len(of_group)),
        "slowest": lambda of_group: (model.total(of_group, "duration_ms") / len(of_group), len(of_group)),
    }
    order = orders[sort or "failed"]
    best = sorted((order(of_group) for of_group in groups.values()), reverse=True)[:limit]
    names = ("host",) if method is QueryMethod.TOP_HOSTS else ("method", "host", "endpoint")
    assert best == [order(groups[tuple(getattr(item, each) for each in names)]) for item in answer.items]
    for item in answer.items:
        of_group = groups[tuple(getattr(item, each) for each in names)]
        assert item.total_requests == len(of_group)
        assert item.failed_requests == model.failed(of_group)
        assert item.failure_rate == model.rate(model.failed(of_group), len(of_group))
        assert item.avg_duration_ms == round(model.total(of_group, "duration_ms") / len(of_group), 2)
        for percentile, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert model.is_percentile(getattr(item, percentile), of_group, q)


def endpoint(row: Row) -> str:
    return endpoint_of(row["path"])


@pytest.mark.parametrize("trace_id", [*data.TRACES, "unknown", "0" * 32])
def test_a_trace_has_its_rows_oldest_first(asking: Asking, rows: Rows, trace_id: str) -> None:
    expected = sorted(
        (row for row in rows if row["trace_id"] == trace_id), key=lambda row: (row["timestamp"], row["id"])
    )
    trace = asking.both(QueryMethod.TRACE, traceId=trace_id)
    assert [item.id for item in trace.items] == [str(row["id"]) for row in expected]
    start, end = data.BEGIN + timedelta(hours=20), data.BEGIN + timedelta(hours=50)
    of_range = asking.both(QueryMethod.TRACE, traceId=trace_id, **{"from": start.isoformat(), "to": end.isoformat()})
    assert [item.id for item in of_range.items] == [
        str(row["id"]) for row in expected if start <= row["timestamp"] < end
    ]


def test_a_page_of_the_longest_paths_fits_in_a_message(asking: Asking) -> None:
    item = {
        **data.random_item(random.Random(1)),
        "timestamp": "1999-06-01T00:00:00Z", "path": "/" + "x" * 8191, "traceId": "longest",
    }  # fmt: skip
    for _ in range(2):
        batch = {"projectId": asking.server.project_id, "requests": [item] * 100}
        assert asking.server.post(batch).status == 202
    page = asking.both(QueryMethod.LIST, **{"from": "1999-05-31T00:00:00Z", "to": "1999-06-02T00:00:00Z"}, perPage=200)
    assert len(page.items) == 200


def test_what_was_acknowledged_is_in_the_next_answer_of_the_last_day(asking: Asking) -> None:
    server = asking.server
    for count in range(1, 6):
        now = datetime.now(data.BEGIN.tzinfo).isoformat()
        item = {**data.random_item(random.Random(1)), "timestamp": now, "host": "fresh", "traceId": "fresh"}
        assert server.post({"projectId": server.project_id, "requests": [item]}).status == 202
        assert asking.over_http(QueryMethod.STATS, host="fresh").total_requests == count
