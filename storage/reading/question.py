"""What is asked about rows, and the answer to it: sums by group."""

from typing import Any, NamedTuple

from storage.reading.filters import Filter
from storage.reading.parts import GroupBy
from storage.reading.sums import Sums
from storage.reading.totals import Sort

Group = tuple[Any, ...]
Groups = dict[Group, Sums]


class Question(NamedTuple):
    """What is asked about rows."""

    rows: Filter
    group_by: GroupBy
    slow_ms: int
    step_s: int = 1  # of GroupBy.STEP
    sort: Sort | None = None  # with a limit: groups that so many others come before may be left out
    limit: int = 0
    with_buckets: bool = True

    @property
    def first_step(self) -> int:
        """The number of the step since 1970 that the range begins in."""
        return int(self.rows.start.timestamp() // self.step_s)
