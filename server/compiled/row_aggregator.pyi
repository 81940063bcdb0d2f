"""The interface of the compiled aggregator."""

from collections.abc import Callable, Mapping, Sequence

from storage.rollups.aggregation import GetMessage, Portion
from storage.rollups.groups import DayName, Stored, Times

class RowAggregator:
    """Sums up rows in binary COPY form, as storage.rollups.aggregation.ReferenceAggregator does."""

    def __init__(
        self,
        *,
        lengths_us: tuple[int, ...],
        slow_ms: int,
        ln_gamma: float,
        end_size: int,
        roles: bytes,
        make_portion: Callable[..., Portion],
        make_name: Callable[..., DayName],
        make_stored: Callable[..., Stored],
    ) -> None:
        """`lengths_us` are those of the spans; `roles` say what each column of a row that is written is, 0: not needed.

        The others are numbered from 1 on, in the order of storage.rollups.aggregation.COLUMNS.
        """

    def add(self, row: bytes | memoryview) -> bool:
        """Add a row in binary COPY form, without the header; do nothing and return False if a figure is NULL.

        Raises ValueError when it is cut off, or a value has not as many bytes as its column.
        """

    def add_all(self, get_message: GetMessage, most: int) -> Portion:
        """Take at most so many rows as they arrive, refused ones included, until none is there or no more will come.

        Raises as `add` does.
        """

    def add_written(self, rows: bytes | bytearray | memoryview, begin: int, most: int) -> tuple[int, int]:
        """Add at most so many of the rows that were sent to Postgres, from the byte `begin` on.

        Return how many it were, and where the next one begins. Raises as `add` does.
        """

    def names(self) -> Mapping[DayName, int]:
        """Return the names that the rows have, and how many have each."""

    def stored(self, hosts: Sequence[int], endpoints: Sequence[int], times: Times) -> Sequence[Stored]:
        """Return the rows of all tables. Each of `names`, in their order, has a number as host and one as endpoint."""
