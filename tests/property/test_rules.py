"""The quick look at a whole column and the look at each value agree."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.contract.fields import FIELDS
from server.contract.rules import NOT_A_DATE_TIME, Violation
from server.contract.timestamps import parse_rfc3339, parse_rfc3339_column
from tests.property.strategies import TOKEN, characters, json_values

RULES = {field.json_name: field.rule for field in FIELDS}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
likely_values = st.one_of(
    st.text(characters, max_size=5),
    st.text(TOKEN, max_size=3),
    st.sampled_from(["inbound", "outbound", "a\0b", " ", "/a?b", "x" * 256, "get", None, 0, 200, 1.0, True, -1, 2**63]),
    st.integers(-1, 700),
    json_values,
)


@pytest.mark.parametrize("name", [name for name in RULES if name != "timestamp"])
@given(column=st.lists(likely_values, min_size=1, max_size=5))
def test_columns_are_accepted_only_when_every_value_is_right(name: str, column: list[Any]) -> None:
    rule = RULES[name]
    examined = [rule.examine(value) for value in column]
    accepted = rule.accept(column)
    if accepted is not None:
        assert list(accepted) == examined
        assert [type(value) for value in accepted] == [type(value) for value in examined]
        assert not any(isinstance(value, Violation) for value in examined)


@given(column=st.lists(st.one_of(st.none(), st.just(NOT_A_DATE_TIME), st.integers()), min_size=1))
def test_timestamp_columns_are_accepted_only_when_every_value_is_right(column: list[Any]) -> None:
    rule = RULES["timestamp"]
    is_right = not any(isinstance(rule.examine(value), Violation) for value in column)
    assert (rule.accept(column) is not None) is is_right


@pytest.mark.parametrize("name", RULES)
def test_usual_columns_are_accepted_at_a_glance(name: str) -> None:
    usual: dict[str, list[Any]] = {
        "direction": ["inbound", "outbound"],
        "method": ["GET", "DELETE"],
        "statusCode": [0, 200],
        "timestamp": [0, 1],
        "userId": [None, "a"],
        "errorFingerprint": [None, None],
    }
    numbers = [0, 5] if name.endswith(("Ms", "Size")) else ["/a", "b"]
    assert RULES[name].accept(usual.get(name, numbers)) is not None


@given(
    moment=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    digits=st.integers(0, 12),
    offset=st.integers(-23 * 60 - 59, 23 * 60 + 59),
    separator=st.sampled_from("Tt"),
)
def test_date_times_mean_the_same_to_us_and_to_the_standard_library(
    moment: datetime, digits: int, offset: int, separator: str
) -> None:
    fraction = f".{moment.microsecond:06d}000000"[: digits + 1] if digits else ""
    zone = timezone(timedelta(minutes=offset))
    written = f"{moment:%Y-%m-%d}".rjust(10, "0") + f"{separator}{moment:%H:%M:%S}{fraction}"
    shown = "Z" if offset == 0 else f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    kept = int(fraction[1:7].ljust(6, "0") or 0)
    expected = (moment.replace(microsecond=kept, tzinfo=zone) - EPOCH) // timedelta(microseconds=1)
    assert parse_rfc3339(written + shown) == expected


@given(column=st.lists(st.text("0123456789-:.TZtz+ ", max_size=30) | st.datetimes().map(lambda d: d.isoformat() + "Z")))
def test_columns_of_date_times_are_parsed_as_each_is(column: list[str]) -> None:
    assert parse_rfc3339_column(column) == [parse_rfc3339(value) for value in column]
