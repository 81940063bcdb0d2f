"""Totals over stored groups, by numbers that the caller gives to what it groups by."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from storage.reading.sums import Sums
from storage.rollups.aggregation import Aggregator, ReferenceAggregator
from storage.rollups.stored_groups import KIND_BITS, decode_groups

INBOUND: Final = 1 << 4
CLASSES: Final = 15


class Sort(IntEnum):
    """The order of groups, the largest first."""

    FAILED = 0  # then by requests
    REQUESTS = 1  # then by those that failed
    TIME = 2  # sum of durations; then by requests
    SLOWEST = 3  # mean of durations; then by requests


class Totals(Protocol):
    """Adds up stored groups: first all sums, then the buckets of those groups that are asked for."""

    def add(self, data: bytes, group: int | None, groups_of: Mapping[int, int] | None) -> None:
        """Add a stored value: to `group`, or else to the groups of its numbers.

        Only numbers in `groups_of` count; None: each number is a group.
        """

    def add_figures(
        self,
        group: int,
        requests: int,
        failed: int,
        slow: int,
        inbound: int,
        duration_ms: int,
        request_bytes: int,
        response_bytes: int,
    ) -> None:
        """Add what comes from elsewhere."""

    def all(self) -> Sequence[int]:
        """Return all groups that have requests."""

    def first(self, sort: int, limit: int) -> Sequence[int]:
        """Return the groups, in no order, that at most `limit` - 1 others come before."""

    def count_buckets(self, groups: Iterable[int]) -> None:
        """Have `add_buckets` count for these groups."""

    def add_buckets(self, data: bytes, group: int | None, groups_of: Mapping[int, int] | None) -> None:
        """Add the buckets of a stored value that `add` was given."""

    def sums(self, group: int) -> Sums:
        """Return the sums of a group."""


# Takes the kinds that count, as bits.
MakeTotals = Callable[[int], Totals]


class ReferenceTotals:
    """Adds up stored groups in pure Python."""

    def __init__(self, kinds: int) -> None:
        self._kinds = kinds
        self._totals: defaultdict[int, Sums] = defaultdict(Sums)
        self._counted: Collection[int] = ()

    def add(self, data: bytes, group: int | None, groups_of: Mapping[int, int] | None) -> None:
        """See Totals."""
        for key, sums in decode_groups(data):
            of_key = self._group_of(key, group, groups_of)
            if of_key is not None:
                failed = sums.requests if key & CLASSES == 0 or key & CLASSES >= 4 else 0
                inbound = sums.requests if key & INBOUND else 0
                self.add_figures(
                    of_key, sums.requests, failed, sums.slow, inbound,
                    sums.duration_ms, sums.request_bytes, sums.response_bytes,
                )  # fmt: skip

    def add_figures(
        self,
        group: int,
        requests: int,
        failed: int,
        slow: int,
        inbound: int,
        duration_ms: int,
        request_bytes: int,
        response_bytes: int,
    ) -> None:
        """See Totals."""
        self._totals[group].add(Sums(requests, failed, slow, inbound, duration_ms, request_bytes, response_bytes))

    def all(self) -> Sequence[int]:
        """See Totals."""
        return [group for group, sums in self._totals.items() if sums.requests]

    def first(self, sort: int, limit: int) -> Sequence[int]:
        """See Totals."""
        orders = {group: order_of(Sort(sort), self._totals[group]) for group in self.all()}
        least = sorted(orders.values(), reverse=True)[:limit][-1:]
        return [group for group, order in orders.items() if [order] >= least]

    def count_buckets(self, groups: Iterable[int]) -> None:
        """See Totals."""
        self._counted = frozenset(groups)

    def add_buckets(self, data: bytes, group: int | None, groups_of: Mapping[int, int] | None) -> None:
        """See Totals."""
        for key, sums in decode_groups(data):
            of_key = self._group_of(key, group, groups_of)
            if of_key in self._counted and of_key is not None:
                self._totals[of_key].add(Sums(buckets=sums.buckets))

    def sums(self, group: int) -> Sums:
        """See Totals."""
        return self._totals.get(group, Sums())

    def _group_of(self, key: int, group: int | None, groups_of: Mapping[int, int] | None) -> int | None:
        number = key >> KIND_BITS
        if not self._kinds >> (key & (INBOUND | CLASSES)) & 1:
            return None
        if groups_of is not None and number not in groups_of:
            return None
        if group is not None:
            return group
        return number if groups_of is None else groups_of[number]


class Adding(NamedTuple):
    """The code that adds up rows and stored groups: pure Python, or what a server puts in its place."""

    make_aggregator: Callable[[], Aggregator]
    make_totals: MakeTotals


REFERENCE: Final = Adding(ReferenceAggregator, ReferenceTotals)


def order_of(sort: Sort, sums: Sums) -> tuple[float, int]:
    """Return what groups are in the order of."""
    if sort is Sort.FAILED:
        return sums.failed, sums.requests
    if sort is Sort.REQUESTS:
        return sums.requests, sums.failed
    if sort is Sort.TIME:
        return sums.duration_ms, sums.requests
    return sums.duration_ms / sums.requests, sums.requests
