"""The interface of the compiled aggregator."""

from collections.abc import Callable, Mapping, Sequence

from storage.rollups.groups import DayName, Stored, Times

class RowAggregator:
    """Sums up rows in binary COPY form, as storage.rollups.aggregation.ReferenceAggregator does."""

    def __init__(
        self,
        *,
        lengths_us: tuple[int, ...],
        slow_ms: int,
        ln_gamma: float,
        make_name: Callable[..., DayName],
        make_stored: Callable[..., Stored],
    ) -> None:
        """`lengths_us` are those of the spans."""

    def add(self, row: bytes) -> None:
        """Add a row in binary COPY form, without the header. Raises ValueError when it is cut off."""

    def names(self) -> Mapping[DayName, int]:
        """Return the names that the rows have, and how many have each."""

    def stored(self, hosts: Sequence[int], endpoints: Sequence[int], times: Times) -> Sequence[Stored]:
        """Return the rows of all tables. Each of `names`, in their order, has a number as host and one as endpoint."""
