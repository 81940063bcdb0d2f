"""Groups in their stored form: what goes in comes out, and the compiled code does what the reference does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.compiled.aggregator import make_compiled_totals
from storage.reading.totals import ReferenceTotals, Sort
from storage.rollups import stored_groups
from storage.rollups.groups import GroupSums
from storage.rollups.stored_groups import KIND_BITS, decode_groups, encode_groups, merge_groups, numbers_in

group_pool = pytest.importorskip("server.compiled.group_pool")

FIGURES = st.integers(0, 300) | st.integers(0, 2**63) | st.integers(0, 2**66)
KINDS = st.integers(0, 31)
KEYS = st.builds(lambda number, kind: number << KIND_BITS | kind, st.integers(0, 9) | st.integers(0, 10**6), KINDS)
SUMS = st.builds(
    GroupSums,
    st.integers(1, 2**40), st.integers(0, 2**40), FIGURES, FIGURES, FIGURES,
    st.dictionaries(st.integers(0, 2207), st.integers(1, 2**40), max_size=5),
)  # fmt: skip
GROUPS = st.dictionaries(KEYS, SUMS, max_size=12)
GROUPS_OF = st.none() | st.dictionaries(st.integers(0, 9), st.integers(0, 3))


def total(stored: list[bytes]) -> dict[int, GroupSums]:
    groups: dict[int, GroupSums] = {}
    for data in stored:
        for key, sums in decode_groups(data):
            groups.setdefault(key, GroupSums()).add(sums)
    return groups


@given(GROUPS)
def test_what_goes_in_comes_out(groups: dict[int, GroupSums]) -> None:
    stored = list(encode_groups(groups))
    assert total(stored) == groups
    assert set().union(*map(numbers_in, stored)) == {key >> KIND_BITS for key in groups}


@given(st.lists(GROUPS, max_size=4))
def test_merged_groups_are_those_of_the_reference(several: list[dict[int, GroupSums]]) -> None:
    stored = [data for groups in several for data in encode_groups(groups)]
    assert group_pool.merge(stored) == merge_groups(stored)


@pytest.mark.parametrize("limit", ["MOST_GROUPS", "MOST_BUCKETS"])
def test_many_groups_are_stored_in_parts(limit: str) -> None:
    count, buckets = (20_000, 1) if limit == "MOST_GROUPS" else (100, 2_000)
    groups = {key: GroupSums(1, 0, key, 1, 1, dict.fromkeys(range(buckets), 1)) for key in range(count)}
    stored = list(encode_groups(groups))
    assert len(stored) > 2
    assert total(stored) == groups
    assert group_pool.merge(stored) == stored
    assert getattr(stored_groups, limit) < count * buckets


@given(
    st.lists(st.tuples(GROUPS, st.none() | st.integers(0, 5), GROUPS_OF), max_size=4),
    st.integers(0, 2**32 - 1),
    st.sampled_from(Sort),
    st.integers(1, 4),
)
def test_totals_are_those_of_the_reference(
    several: list[tuple[dict[int, GroupSums], int | None, dict[int, int] | None]],
    kinds: int,
    sort: Sort,
    limit: int,
) -> None:
    reference, compiled = ReferenceTotals(kinds), make_compiled_totals(kinds)
    for totals in (reference, compiled):
        for groups, group, groups_of in several:
            for data in encode_groups(groups):
                totals.add(data, group, groups_of)
        totals.add_figures(1, 1, 2, 3, 4, 5, 2**70, 7)
    assert sorted(compiled.all()) == sorted(reference.all())
    first = sorted(reference.first(sort, limit))
    assert sorted(compiled.first(sort, limit)) == first
    for totals in (reference, compiled):
        totals.count_buckets(first)
        for groups, group, groups_of in several:
            for data in encode_groups(groups):
                totals.add_buckets(data, group, groups_of)
    for group in reference.all():
        assert compiled.sums(group) == reference.sums(group)


@given(st.binary(max_size=200) | GROUPS.flatmap(lambda groups: st.sampled_from([*encode_groups(groups), b"\0"])))
def test_bytes_that_are_no_groups_are_refused(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(ValueError, match="cut off"):
            group_pool.merge([data[:length] or b"\0"])
