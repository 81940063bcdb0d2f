"""The shapes of charts."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from http_bridge.pages import formats
from http_bridge.pages.charts import Series, Times, bar_chart, distribution_chart, line_chart

START = datetime(2026, 3, 31, 12, tzinfo=UTC)


def times(count: int, step_s: int = 60, start: datetime = START) -> Times:
    return Times(start, start + timedelta(seconds=count * step_s), start, step_s)


def test_a_line_breaks_where_there_is_nothing_and_shows_a_lone_value() -> None:
    chart = line_chart(times(5), [Series("p95", "p95", [1, 2, None, 4, None])], formats.duration)
    assert [(shape.style, shape.path) for shape in chart.shapes] == [
        ("line p95", "M100 75L300 50"),
        ("line p95 dot", "M700 0h.01"),
    ]
    assert chart.summary == "p95: from 1 ms to 4 ms, last 4 ms"


@pytest.mark.parametrize("values", [[], [None, None], [0, 0]])
def test_a_chart_of_nothing_is_empty(values: list[float | None]) -> None:
    chart = line_chart(times(max(1, len(values))), [Series("p95", "p95", values)], formats.duration)
    assert chart.is_empty
    assert len(chart.y_ticks) == 3


@pytest.mark.parametrize(
    ("most", "top"), [(1, "1"), (1.1, "1.5"), (2.4, "3"), (4.5, "5"), (31, "40"), (999, "1,000"), (2**63, "10 E")]
)
def test_the_axis_ends_at_a_round_value(most: float, top: str) -> None:
    chart = line_chart(times(1), [Series("n", "n", [most])], formats.count)
    assert (chart.y_ticks[2].percent, chart.y_ticks[2].text) == (0, top)


def test_bars_stand_on_each_other() -> None:
    chart = bar_chart(times(2), [Series("ok", "ok", [5, 0]), Series("failed", "failed", [5, 10])], formats.count)
    lower, upper = (shape.path for shape in chart.shapes)
    assert lower == "M50 100V50H450V100z"
    assert upper == "M50 50V0H450V50zM550 100V0H950V100z"


def test_edges_that_are_no_whole_steps_are_cut() -> None:
    cut = Times(START + timedelta(seconds=30), START + timedelta(seconds=100), START, 60)
    assert [cut.seconds_of(index) for index in range(3)] == [30, 40, 0]
    assert cut.bounds_of(0)[0] == 0
    assert cut.bounds_of(1)[1] == 1000


def test_every_second_label_of_many_bars_is_spare() -> None:
    chart = distribution_chart([(f"{n} ms", f"{n} ms", 1) for n in range(50)], "Requests", formats.count)
    assert [tick.is_spare for tick in chart.x_ticks] == [False, True] * 5


@pytest.mark.parametrize("step_s", [1, 10, 60, 900, 21_600, 86_400, 86_400 * 365])
def test_ticks_are_few_and_at_round_times(step_s: int) -> None:
    ticks = times(100, step_s).ticks
    assert 2 <= len(ticks) <= 7
    assert all(4 <= tick.percent <= 96 for tick in ticks)


def test_the_last_year_that_there_is_has_charts_too() -> None:
    last = datetime(9999, 12, 31, tzinfo=UTC)
    period = Times(last, datetime.max.replace(tzinfo=UTC), last, 43_200)
    assert line_chart(period, [Series("n", "n", [1, 2])], formats.count).shapes[0].path
    assert period.ticks


def test_a_script_gets_what_each_step_says() -> None:
    chart = line_chart(times(2), [Series("a", "a", [1, None]), Series("b", "b", [0, 2])], formats.duration)
    data = json.loads(chart.data)
    assert data["names"] == ["a", "b"]
    assert data["rows"] == [["1 ms", "0 ms"], ["\u2013", "2 ms"]]
    assert data["end"] - data["start"] == 2 * data["step"] == 120_000


def test_a_distribution_labels_some_of_its_bars() -> None:
    bars = [(str(number), f"{number} ms", float(number)) for number in range(50)]
    chart = distribution_chart(bars, "Requests", formats.count)
    assert 5 <= len(chart.x_ticks) <= 10
    assert chart.summary == "most of them 49 ms: 49"
    assert distribution_chart([], "Requests", formats.count).is_empty
