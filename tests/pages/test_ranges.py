"""The range of time in the address of a page."""

from datetime import UTC, datetime, timedelta

import pytest

from http_bridge.pages.ranges import MOST_STEPS, RELATIVES, parse_range
from server.errors import ValidationFailedError

NOW = datetime(2026, 3, 31, 12, 17, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"range": "2h"}, {"range"}),
        ({"range": "<script>"}, {"range"}),
        ({"to": "2026-03-31T12:00"}, {"from"}),
        ({"from": "yesterday"}, {"from"}),
        ({"from": "2026-02-30T00:00"}, {"from"}),
        ({"from": "2026-03-31T25:00", "to": "soon"}, {"from", "to"}),
        ({"from": "2026-03-31T12:00", "to": "2026-03-31T12:00"}, {"from"}),
        ({"from": "2026-04-01T00:00"}, {"from"}),
        ({"from": "٢٠٢٦-03-31T12:00"}, {"from"}),
    ],
)
def test_what_is_no_range_is_named(given: dict[str, str], wrong: set[str]) -> None:
    with pytest.raises(ValidationFailedError) as caught:
        parse_range(given, NOW)
    assert set(caught.value.details) == wrong


@pytest.mark.parametrize("name", RELATIVES)
def test_a_relative_range_ends_now_and_is_asked_for_in_whole_minutes_or_hours(name: str) -> None:
    period = parse_range({"range": name}, NOW)
    assert period.end == NOW
    kept = timedelta(minutes=1) if name in ("15m", "1h", "6h", "24h") else timedelta(hours=1)
    assert period.start == NOW - (NOW - datetime.min.replace(tzinfo=UTC)) % kept - RELATIVES[name].length
    assert period.parameters["to"] == "2026-03-31T12:18:00Z"
    assert period.step_s % 60 == 0
    assert period.seconds / period.step_s <= MOST_STEPS
    assert parse_range(period.query, NOW) == period


def test_the_default_needs_no_address() -> None:
    assert parse_range({}, NOW).query == {}
    assert parse_range({"range": "", "from": "", "to": ""}, NOW) == parse_range({}, NOW)


@pytest.mark.parametrize(
    "given",
    [
        {"from": "2026-03-31T10:00", "to": "2026-03-31T11:00"},
        {"from": "2026-03-31T10:00:00", "to": "2026-03-31T11:00:00.000"},
        {"from": "2026-03-31T12:00:00+02:00", "to": "2026-03-31T11:00:00Z", "range": "7d"},
    ],
)
def test_an_absolute_range_is_in_utc_unless_it_says_otherwise(given: dict[str, str]) -> None:
    period = parse_range(given, NOW)
    assert (period.start.hour, period.end.hour, period.name) == (10, 11, None)
    assert parse_range(period.query, NOW) == period


def test_an_absolute_range_without_an_end_ends_now() -> None:
    assert parse_range({"from": "2026-03-31T10:00"}, NOW).end == NOW


@pytest.mark.parametrize("seconds", [0.000_001, 1, 119, 121, 10**5, 10**7, 10**9, 3 * 10**11])
def test_steps_are_few_whatever_the_range(seconds: float) -> None:
    start = datetime(1, 1, 1, tzinfo=UTC)
    end = min(start + timedelta(seconds=min(seconds, 3.1e11)), datetime.max.replace(tzinfo=UTC))
    period = parse_range({"from": start.isoformat(), "to": end.isoformat()}, NOW)
    assert period.seconds / period.step_s <= MOST_STEPS
    assert period.before is None


def test_the_range_before_has_the_same_length() -> None:
    for given, seconds in (({"range": "1h"}, 3600), ({"from": "2026-03-31T10:00", "to": "2026-03-31T10:00:07"}, 7)):
        period = parse_range(given, NOW)
        assert period.before is not None
        assert (period.before.end, period.before.seconds) == (period.start, seconds)
