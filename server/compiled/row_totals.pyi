"""The interface of the compiled totals."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from storage.reading.sums import Sums

class RowTotals:
    """Adds up stored groups, as storage.reading.totals.ReferenceTotals does."""

    def __init__(self, kinds: int, *, make_sums: Callable[..., Sums]) -> None: ...
    def add(self, data: bytes, group: int | None, groups_of: Mapping[int, int] | None) -> None: ...
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
    ) -> None: ...
    def all(self) -> Sequence[int]: ...
    def first(self, sort: int, limit: int) -> Sequence[int]: ...
    def count_buckets(self, groups: Iterable[int]) -> None: ...
    def add_buckets(self, data: bytes, group: int | None, groups_of: Mapping[int, int] | None) -> None: ...
    def sums(self, group: int) -> Sums: ...
