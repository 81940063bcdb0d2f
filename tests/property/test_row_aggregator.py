"""The compiled aggregator gives the sums of the reference, to the last bucket."""

import struct
from collections.abc import Callable, Iterable
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.compiled.aggregator import make_compiled_aggregator
from storage.endpoints import endpoint_of
from storage.rollups.aggregation import GetMessage, ReferenceAggregator
from storage.rollups.groups import DAY_US, Times
from storage.writing.http_requests import HTTP_REQUESTS

pytest.importorskip("server.compiled.row_aggregator")

LARGEST = 2**63 - 1
FIGURES_AT = 33
NONE_YET = b""
END = b"\xff\xff"
NULL = struct.pack(">i", -1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SEGMENTS = st.one_of(
    st.sampled_from(["orders", "{id}", "{other}", "defaced1", "deadbeef", "", "v1", "a" * 16, "aB3" + "x" * 13 + "=="]),
    st.uuids().map(str),
    st.uuids().map(lambda value: str(value).upper()),
    st.from_regex(r"[0-9A-Za-z_=-]{1,24}", fullmatch=True),
    st.from_regex(r"[0-9A-Fa-f]{7,9}", fullmatch=True),
    st.from_regex(r"[0-9a-f-]{36}", fullmatch=True),
    TEXTS,
)
PATHS = st.lists(SEGMENTS, max_size=5).map("/".join)
FIGURES = st.one_of(st.integers(0, 5_000), st.integers(0, LARGEST), st.just(LARGEST))
ROWS = st.tuples(
    st.integers(1, 3),
    st.one_of(st.integers(0, 3 * 60_000_000), st.integers(-(2**62), 2**62)),
    st.booleans(),
    st.sampled_from((0, 200, 404, 599)),
    FIGURES, FIGURES, FIGURES,
    st.sampled_from(("GET", "POST")), TEXTS, PATHS,
)  # fmt: skip
Row = tuple[int, int, bool, int, int, int, int, str, str, str]


def to_copy(row: Row) -> bytes:
    project, timestamp, is_inbound, status_code, duration, request, response, *texts = row
    head = struct.pack(">hiiiqi?ih", 10, 4, project, 8, timestamp, 1, is_inbound, 2, status_code)
    figures = [struct.pack(">q", figure) for figure in (duration, request, response)]
    return head + b"".join(struct.pack(">i", len(value)) + value for value in (*figures, *map(str.encode, texts)))


def to_narrow_copy(row: Row) -> bytes:
    """Return a row with figures of four bytes, and NULL for those that need more."""
    wide = to_copy(row)
    narrow = [struct.pack(">ii", 4, figure) if figure < 2**31 else struct.pack(">i", -1) for figure in row[4:7]]
    return wide[:FIGURES_AT] + b"".join(narrow) + wide[FIGURES_AT + 3 * 12 :]


def arriving(messages: Iterable[bytes]) -> GetMessage:
    """Return what tells messages as a driver does."""
    left = iter(messages)
    return lambda _: (len(message := next(left)), memoryview(message))


TIMES = st.builds(
    Times,
    st.none() | st.integers(-DAY_US, DAY_US),
    st.integers(-DAY_US, DAY_US),
    st.integers(-DAY_US, DAY_US),
    st.integers(-DAY_US, DAY_US),
)


@given(st.lists(ROWS, max_size=12), TIMES)
@example([(1, 0, True, 200, 0, 0, 0, "GET", "h", "1/2/3/")], Times(None, 0, 1, 1))
def test_sums_are_those_of_the_reference(rows: list[Row], times: Times) -> None:
    reference, compiled = ReferenceAggregator(), make_compiled_aggregator()
    for row in rows:
        reference.add(to_copy(row))
        compiled.add(to_copy(row))
    assert list(compiled.names().items()) == list(reference.names().items())
    numbers = range(1, len(compiled.names()) + 1)
    endpoints = [source % 3 + 1_000 for source in numbers]
    assert compiled.stored(numbers, endpoints, times) == reference.stored(numbers, endpoints, times)


@given(st.lists(ROWS, max_size=8), st.integers(1, 9), st.sampled_from((NONE_YET, END)))
def test_rows_that_arrive_are_added_but_for_those_with_a_null(rows: list[Row], most: int, last: bytes) -> None:
    sums = []
    fitting = [row for row in rows[:most] if max(row[4:7]) < 2**31]
    for aggregator in (ReferenceAggregator(), make_compiled_aggregator()):
        messages = [*map(to_narrow_copy, rows), last]
        portion = aggregator.add_all(arriving(messages), most)
        assert portion == (len(fitting), len(rows[:most]) - len(fitting), len(messages[min(most, len(rows) + 1) - 1]))
        numbers = range(1, len(aggregator.names()) + 1)
        sums.append(aggregator.stored(numbers, numbers, Times(None, 0, 0, 0)))
    reference = ReferenceAggregator()
    for row in fitting:
        assert reference.add(to_copy(row))
    numbers = range(1, len(reference.names()) + 1)
    assert sums == [reference.stored(numbers, numbers, Times(None, 0, 0, 0))] * 2


def to_written(row: Row) -> bytes:
    """Return a row as it is sent to Postgres."""
    project, timestamp, is_inbound, status_code, *figures = row[:7]
    narrow = [struct.pack(">ii", 4, figure) if figure < 2**31 else NULL for figure in figures]
    long = [struct.pack(">iq", 8, figure) if figure >= 2**31 else NULL for figure in figures]
    texts = [struct.pack(">i", len(text)) + text for text in map(str.encode, row[7:])]
    parts = [
        struct.pack(">hi16sii", len(HTTP_REQUESTS.form.columns), 16, b"i" * 16, 4, project),
        struct.pack(">iq", 8, timestamp), *narrow, struct.pack(">ihi?i?", 2, status_code, 1, is_inbound, 1, True),
        NULL, *texts, struct.pack(">i5s", 5, b"trace"), NULL, NULL, *long,
    ]  # fmt: skip
    return b"".join(parts)


@given(st.lists(ROWS, max_size=8), st.integers(1, 9))
def test_rows_that_are_written_count_as_those_that_are_copied_out(rows: list[Row], most: int) -> None:
    written = b"".join(map(to_written, rows))
    assert [tuple(each.values())[:2] for each in HTTP_REQUESTS.form.decode(written)] == [
        (UUID(bytes=b"i" * 16), row[0]) for row in rows
    ]
    reference = ReferenceAggregator()
    for row in rows:
        reference.add(to_copy(row))
    numbers = range(1, len(reference.names()) + 1)
    for aggregator in (ReferenceAggregator(), make_compiled_aggregator()):
        at = added = 0
        while at < len(written):
            count, at = aggregator.add_written(written, at, most)
            assert 0 < count <= most
            added += count
        assert (added, at) == (len(rows), len(written))
        assert list(aggregator.names().items()) == list(reference.names().items())
        assert aggregator.stored(numbers, numbers, Times(None, 0, 0, 0)) == reference.stored(
            numbers, numbers, Times(None, 0, 0, 0)
        )


def test_what_is_no_whole_row_that_is_written_is_refused() -> None:
    row = to_written((1, 0, True, 200, 1, 1, 2**40, "GET", "host", "/path"))
    for length in range(1, len(row)):
        with pytest.raises(ValueError, match=r"cut off|columns"):
            make_compiled_aggregator().add_written(row[:length], 0, 1)
    wide = row.replace(struct.pack(">ii", 4, 1), struct.pack(">ih", 2, 1))
    with pytest.raises(ValueError, match="width"):
        make_compiled_aggregator().add_written(wide, 0, 1)


@pytest.mark.parametrize("form", [to_copy, to_narrow_copy])
def test_a_figure_below_0_counts_as_0(form: Callable[[Row], bytes]) -> None:
    sums = []
    for duration, request, response in ((-1, -(2**31), -7), (0, 0, 0)):
        for aggregator in (ReferenceAggregator(), make_compiled_aggregator()):
            assert aggregator.add(form((1, 0, True, 200, duration, request, response, "GET", "h", "/")))
            sums.append((aggregator.names(), aggregator.stored([1], [1], Times(None, 0, 0, 0))))
    assert all(each == sums[0] for each in sums)


@given(PATHS)
def test_endpoints_are_those_of_the_reference(path: str) -> None:
    compiled = make_compiled_aggregator()
    compiled.add(to_copy((1, 0, True, 200, 1, 1, 1, "GET", "h", path)))
    (name,) = compiled.names()
    assert name.endpoint == endpoint_of(path)


@pytest.mark.parametrize("form", [to_copy, to_narrow_copy])
def test_a_row_that_is_cut_off_is_refused(form: Callable[[Row], bytes]) -> None:
    row = form((1, 0, True, 200, 1, 1, 1, "GET", "host", "/path"))
    for length in range(len(row)):
        with pytest.raises(ValueError, match="cut off"):
            make_compiled_aggregator().add(row[:length])
