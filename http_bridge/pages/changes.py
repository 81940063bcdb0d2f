"""What has changed against the period before, in words."""

from dataclasses import dataclass
from typing import Final

from http_bridge.pages.formats import percent

MOST_TIMES: Final = 10  # a figure grows to, before its change is no longer told in per cent
# Smaller changes for the worse are told as all others are, without alarm.
_ALARMING_PERCENT: Final = 10.0
_ALARMING_POINTS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Change:
    """A change: its arrow, its size, and the same as a sentence for screen readers; `style` is a class."""

    arrow: str
    text: str
    sentence: str
    style: str


def relative_change(now: float | None, before: float | None, *, is_worse_up: bool = False) -> Change | None:
    """Return the change of a figure in per cent, a large one as a multiple; None when it cannot be told."""
    if now is None or not before:
        return None
    if now / before >= MOST_TIMES:
        return _change("over 10 times", is_up=True, is_worse_up=is_worse_up)
    difference = (now - before) / before * 100
    is_worse_up = is_worse_up and abs(difference) >= _ALARMING_PERCENT
    return _change(percent(abs(round(difference))), is_up=difference > 0, is_worse_up=is_worse_up)


def rate_change(now: float, before: float) -> Change | None:
    """Return the change of a rate that is in per cent itself, in points; much more of it is worse."""
    difference = round(now - before, 2)
    points = percent(abs(difference)).removesuffix(" %")
    return _change(f"{points} points", is_up=now > before, is_worse_up=abs(difference) >= _ALARMING_POINTS)


def _change(size: str, *, is_up: bool, is_worse_up: bool) -> Change:
    if size.startswith("0 "):
        return Change("", "no change", "no change against the period before", "")
    style = ("worse" if is_up else "better") if is_worse_up else ""
    return Change("▲" if is_up else "▼", size, f"{size} {'more' if is_up else 'less'} than the period before", style)
