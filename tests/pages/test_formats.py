"""Figures in the units that people read."""

import pytest

from http_bridge.pages import formats

NONE = "\u2013"


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, NONE), (0, "0"), (9876, "9,876"), (10_000, "10 k"), (12_345, "12.3 k"), (999_999, "1 M"), (104e6, "104 M"),
     (2**63, "9.22 E"), (10**24, "1,000,000 E")],
)  # fmt: skip
def test_counts(number: float | None, text: str) -> None:
    assert formats.count(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, NONE), (0, "0/s"), (0.001, "3.6/h"), (0.42, "0.42/s"), (0.025, "0.025/s"), (1.26, "1.3/s"),
     (9.96, "10/s"), (340.4, "340/s"),
     (1_234, "1.2 k/s"), (999.6, "1 k/s"), (2_500_000, "2.5 M/s")],
)  # fmt: skip
def test_rates(number: float | None, text: str) -> None:
    assert formats.rate(number) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, NONE), (0, "0 ms"), (1.5, "1.5 ms"), (340.2, "340 ms"), (999.4, "999 ms"), (999.6, "1 s"), (1_240, "1.2 s"),
     (59_400, "59 s"), (59_600, "1 min"), (125_000, "2 min 5 s"), (3_600_000, "1 h"), (90_000_000, "1 d 1 h"),
     (2**63, "106,751,991,167 d 7 h")],
)  # fmt: skip
def test_durations(milliseconds: float | None, text: str) -> None:
    assert formats.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("octets", "text"), [(None, NONE), (0, "0 B"), (512, "512 B"), (1_000, "1 kB"), (5_140_000, "5.1 MB")]
)
def test_sizes(octets: float | None, text: str) -> None:
    assert formats.size(octets) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, NONE), (0.0, "0 %"), (0.42, "0.42 %"), (1.26, "1.3 %"), (100, "100 %")]
)
def test_rates_in_per_cent(value: float | None, text: str) -> None:
    assert formats.percent(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("/orders/ü", "/orders/ü"), ("a\u202eb", "a\\u202eb"), ("a\nb\x07", "a\\nb\\x07"), ("\u200b", "\\u200b")],
)
def test_text_of_others_hides_and_turns_nothing(text: str, shown: str) -> None:
    assert formats.visible(text) == shown


def test_long_text_of_others_is_cut_for_tables() -> None:
    assert formats.bounded("x" * 8192) == "x" * formats.MOST_CHARACTERS + "…"
