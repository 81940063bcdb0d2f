"""Charts as shapes for an SVG of 1,000 by 100 that is stretched to its place; text stands beside it, unstretched.

A template draws them (`charts.html`), and a script adds reading out and zooming by what `data` says.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from http_bridge.pages.formats import iso

WIDTH: Final = 1000.0
HEIGHT: Final = 100.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_BAR_SHARE: Final = 0.8  # of its step
_MOST_TICKS: Final = 6
_TICK_STEPS_S: Final = (1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)
_DAY_S: Final = 86_400
_NICE: Final = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)  # whose halves have two digits at most, as labels show

Format = Callable[[float | None], str]


@dataclass(frozen=True, slots=True)
class Series:
    """Values by step; None where there is nothing to say. `style` is the class of its shape."""

    name: str
    style: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Shape:
    """A series as the path of an SVG."""

    name: str
    style: str
    path: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, in per cent of it; `moment` is what a script shows in the reader's time zone.

    One that `is_spare` is left out where there is little room.
    """

    percent: float
    text: str
    moment: str = ""
    form: str = ""
    is_spare: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template draws, what a screen reader says of it, and what a script needs."""

    shapes: list[Shape]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    summary: str
    data: str
    is_empty: bool


def line_chart(times: "Times", series: Sequence[Series], form: Format, *, least_top: float = 0.0) -> Chart:
    """Return lines over time; the axis reaches to `least_top` at least."""
    top, y_ticks = _y_axis(series, form, least_top)
    shapes = [shape for each in series for shape in _lines_and_dots(times, each, top)]
    return _over_time(times, series, form, shapes, y_ticks)


def bar_chart(times: "Times", series: Sequence[Series], form: Format) -> Chart:
    """Return bars over time; those of the first series stand on the axis, those of the next ones on them."""
    totals = [sum(value or 0 for value in values) for values in zip(*(each.values for each in series), strict=True)]
    top, y_ticks = _y_axis([Series("", "", totals)], form, 1.0)
    bounds = [times.bounds_of(index) for index in range(len(totals))]
    return _over_time(times, series, form, _stacked(series, bounds, top), y_ticks)


def distribution_chart(bars: Sequence[tuple[str, str, float]], name: str, form: Format) -> Chart:
    """Return bars side by side: the short text that may stand below each, what it is about, and its value."""
    values = [value for _, _, value in bars]
    series = [Series(name, "bar-plain", values)]
    top, y_ticks = _y_axis(series, form, 1.0)
    step = WIDTH / max(1, len(bars))
    bounds = [(index * step, (index + 1) * step) for index in range(len(bars))]
    every = max(1, -(-len(bars) // 10))
    x_ticks = [
        Tick(round((index + 0.5) * 100 / len(bars), 2), text, is_spare=index // every % 2 == 1)
        for index, (text, _, _) in enumerate(bars)
        if index % every == every // 2 and index < len(bars) - every / 2
    ]
    data = {"labels": [label for _, label, _ in bars], "rows": [[form(value)] for value in values], "names": [name]}
    largest = max(range(len(bars)), key=values.__getitem__, default=None)
    summary = "" if largest is None else f"most of them {bars[largest][1]}: {form(values[largest])}"
    return Chart(_stacked(series, bounds, top), y_ticks, x_ticks, summary, _json(data), not any(values))


@dataclass(frozen=True, slots=True)
class Times:
    """Steps of `step_s` seconds from `first` on, as far as they lie in a range."""

    start: datetime
    end: datetime
    first: datetime
    step_s: int

    def x_of(self, moment: datetime) -> float:
        """Return where an instant stands."""
        return max(0.0, min(WIDTH, (moment - self.start) / (self.end - self.start) * WIDTH))

    def bounds_of(self, index: int) -> tuple[float, float]:
        """Return where a step begins and ends within the range."""
        begin_s, end_s = self._span_of(index)
        whole_s = (self.end - self.start).total_seconds()
        return begin_s / whole_s * WIDTH, end_s / whole_s * WIDTH

    def seconds_of(self, index: int) -> float:
        """Return how many seconds of a step lie in the range."""
        begin_s, end_s = self._span_of(index)
        return end_s - begin_s

    def _span_of(self, index: int) -> tuple[float, float]:
        """Return when a step begins and ends, in seconds from the begin of the range and within it."""
        whole_s = (self.end - self.start).total_seconds()
        begin_s = (self.first - self.start).total_seconds() + self.step_s * index
        return min(max(begin_s, 0.0), whole_s), min(max(begin_s + self.step_s, 0.0), whole_s)

    @property
    def ticks(self) -> list[Tick]:
        """Marks at round times, some distance from the edges."""
        seconds = (self.end - self.start).total_seconds()
        step_s = next((step for step in _TICK_STEPS_S if seconds / step <= _MOST_TICKS), None)
        if step_s is None:
            step_s = -(-int(seconds) // (_MOST_TICKS * _DAY_S)) * _DAY_S
        form = "date" if step_s >= _DAY_S else "minute" if step_s >= 60 else "second"
        first = -(-(self.start - _EPOCH) // timedelta(seconds=step_s))
        moments = [_later(_EPOCH, step_s * (first + number)) for number in range(_MOST_TICKS + 1)]
        ticks = [(self.x_of(moment) / WIDTH * 100, moment) for moment in moments if moment < self.end]
        return [
            Tick(round(percent, 2), f"{moment:{_FORMS[form]}}", iso(moment), form)
            for percent, moment in ticks
            if 4 <= percent <= 96
        ]


_FORMS: Final = {"date": "%b %-d", "minute": "%H:%M", "second": "%H:%M:%S"}


def _over_time(times: Times, series: Sequence[Series], form: Format, shapes: list[Shape], y_ticks: list[Tick]) -> Chart:
    rows = [[form(value) for value in values] for values in zip(*(each.values for each in series), strict=True)]
    data = {
        "start": _milliseconds(times.start),
        "end": _milliseconds(times.end),
        "first": _milliseconds(times.first),
        "step": times.step_s * 1000,
        "names": [each.name for each in series],
        "rows": rows,
    }
    is_empty = not any(value for each in series for value in each.values)
    return Chart(shapes, y_ticks, times.ticks, "; ".join(filter(None, map(_tell(form), series))), _json(data), is_empty)


def _tell(form: Format) -> Callable[[Series], str]:
    def tell(series: Series) -> str:
        known = [value for value in series.values if value is not None]
        if not known:
            return ""
        return f"{series.name}: from {form(min(known))} to {form(max(known))}, last {form(known[-1])}"

    return tell


def _lines_and_dots(times: Times, series: Series, top: float) -> Iterator[Shape]:
    """Yield lines through the middle of the steps, broken where there is no value; one value alone is a dot."""
    lines, dots = [], []
    for is_known, steps in itertools.groupby(enumerate(series.values), lambda step: step[1] is not None):
        if is_known:
            points = [f"{_short(sum(times.bounds_of(at)) / 2)} {_short(_y(value or 0, top))}" for at, value in steps]
            if len(points) > 1:
                lines.append(f"M{'L'.join(points)}")
            else:
                dots.append(f"M{points[0]}h.01")
    if lines:
        yield Shape(series.name, f"line {series.style}", "".join(lines))
    if dots:
        yield Shape(series.name, f"line {series.style} dot", "".join(dots))


def _stacked(series: Sequence[Series], bounds: Sequence[tuple[float, float]], top: float) -> list[Shape]:
    below = [0.0] * len(bounds)
    shapes = []
    for each in series:
        bars = []
        for index, value in enumerate(each.values):
            if value:
                bars.append(_bar(*bounds[index], _y(below[index], top), _y(below[index] + value, top)))
                below[index] += value
        shapes.append(Shape(each.name, f"bar {each.style}", "".join(bars)))
    return shapes


def _bar(begin: float, end: float, bottom: float, height: float) -> str:
    margin = (end - begin) * (1 - _BAR_SHARE) / 2
    return f"M{_short(begin + margin)} {_short(bottom)}V{_short(height)}H{_short(end - margin)}V{_short(bottom)}z"


def _y_axis(series: Sequence[Series], form: Format, least_top: float) -> tuple[float, list[Tick]]:
    """Return the value at the top, a round one, and the marks at it, at its half and at 0."""
    most = max((value for each in series for value in each.values if value is not None), default=0.0)
    wanted = max(most, least_top) or 1.0
    power = 10.0 ** math.floor(math.log10(wanted))
    top = next(nice * power for nice in _NICE if nice * power >= wanted * 0.999)
    return top, [Tick(round(100 - share * 100, 2), form(top * share) if share else "0") for share in (0.0, 0.5, 1.0)]


def _y(value: float, top: float) -> float:
    return HEIGHT - min(value, top) / top * HEIGHT


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _later(moment: datetime, seconds: int) -> datetime:
    """Return an instant so many seconds later, or the last one that there is."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return _LATEST


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _json(data: object) -> str:
    return msgspec.json.encode(data).decode()
