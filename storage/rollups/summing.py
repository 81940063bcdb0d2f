"""The code that sums up: pure Python, or what a server puts in its place."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from storage.rollups.aggregation import Aggregator, ReferenceAggregator
from storage.rollups.stored_groups import merge_groups


class Summing(NamedTuple):
    """How rows are summed up, and how stored groups are."""

    make_aggregator: Callable[[], Aggregator]
    merge: Callable[[Iterable[bytes]], list[bytes]]


REFERENCE: Final = Summing(ReferenceAggregator, merge_groups)
