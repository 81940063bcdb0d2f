"""The interface of the compiled aggregator."""

from collections.abc import Callable

from storage.rollups.groups import GroupSums, RowGroup, RowGroups

class RowAggregator:
    """Sums up rows in binary COPY form, as storage.rollups.aggregation.ReferenceAggregator does."""

    def __init__(
        self,
        *,
        minute_us: int,
        slow_ms: int,
        ln_gamma: float,
        make_group: Callable[..., RowGroup],
        make_sums: Callable[..., GroupSums],
    ) -> None: ...
    def add(self, row: bytes) -> None:
        """Add a row in binary COPY form, without the header. Raises ValueError when it is cut off."""

    def groups(self) -> RowGroups:
        """Return the sums over all rows that were added."""
