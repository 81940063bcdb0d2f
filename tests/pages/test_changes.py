"""What has changed against the period before."""

import pytest

from http_bridge.pages.changes import rate_change, relative_change


@pytest.mark.parametrize(("now", "before"), [(None, 1), (1, None), (1, 0), (None, None)])
def test_what_cannot_be_compared_has_no_change(now: float | None, before: float | None) -> None:
    assert relative_change(now, before) is None


@pytest.mark.parametrize(
    ("now", "before", "arrow", "text"),
    [(112, 100, "▲", "12 %"), (50, 100, "▼", "50 %"), (1000, 100, "▲", "over 10 times"), (100.1, 100, "", "no change")],
)
def test_changes_of_figures(now: float, before: float, arrow: str, text: str) -> None:
    change = relative_change(now, before, is_worse_up=True)
    assert change is not None
    assert (change.arrow, change.text) == (arrow, text)
    assert change.style == {"▲": "worse", "▼": "better", "": ""}[arrow]


@pytest.mark.parametrize(
    ("now", "before", "arrow", "text"),
    [(2.5, 1.2, "▲", "1.3 points"), (1, 1.5, "▼", "0.5 points"), (1.001, 1, "", "no change")],
)
def test_changes_of_rates_are_in_points(now: float, before: float, arrow: str, text: str) -> None:
    change = rate_change(now, before)
    assert change is not None
    assert (change.arrow, change.text) == (arrow, text)


def test_a_small_change_for_the_worse_is_no_alarm() -> None:
    found = [relative_change(now, 100, is_worse_up=True) for now in (104, 111, 96)]
    found += [rate_change(now, 6.0) for now in (6.2, 7.1)]
    assert [change.style for change in found if change is not None] == ["", "worse", "", "", "worse"]
