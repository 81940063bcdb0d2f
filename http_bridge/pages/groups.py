"""The endpoints and hosts that matter most, of one direction or of both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from http_bridge.pages.asking import Asking, Kind, Pending
from http_bridge.pages.ranges import Range
from server.query.answers import TopEndpoint, TopEndpoints, TopHost, TopHosts

DIRECTIONS: Final[Mapping[str, str]] = {"": "All", "inbound": "Inbound", "outbound": "Outbound"}
SORTS: Final[Mapping[str, str]] = {
    "requests": "Most requests", "failed": "Most failures", "time": "Most time", "slowest": "Slowest",
}  # fmt: skip
MOST_GROUPS: Final = 10


@dataclass(frozen=True, slots=True)
class Group:
    """Sums over the requests of an endpoint or a host in one direction."""

    direction: str
    figures: TopEndpoint | TopHost

    @property
    def total_ms(self) -> float:
        """How long all its requests took together."""
        return self.figures.avg_duration_ms * self.figures.total_requests


_ORDERS: Final[Mapping[str, Callable[[Group], float]]] = {
    "requests": lambda group: group.figures.total_requests,
    "failed": lambda group: group.figures.failed_requests,
    "time": lambda group: group.total_ms,
    "slowest": lambda group: group.figures.avg_duration_ms,
}


class PendingGroups:
    """Groups that were asked for, by direction."""

    def __init__(
        self,
        questions: Asking,
        kind: "Kind[TopEndpoints] | Kind[TopHosts]",
        period: Range,
        direction: str,
        sort: str,
        filters: Mapping[str, object] = {},
    ) -> None:
        """Ask for the first groups of a direction, or of each when it is empty."""
        self._sort = sort
        self._pending: list[tuple[str, Pending[TopEndpoints] | Pending[TopHosts]]] = []
        for each in (direction,) if direction else ("inbound", "outbound"):
            given = {**filters, **period.parameters, "direction": each, "sort": sort, "limit": MOST_GROUPS}
            self._pending.append((each, questions.ask(kind, given)))  # type: ignore[misc] # either kind

    def get(self) -> list[Group]:
        """Return the first groups of all, once they are there. Raises IngestError."""
        found = [Group(direction, item) for direction, pending in self._pending for item in pending.get().items]
        return sorted(found, key=_ORDERS[self._sort], reverse=True)[:MOST_GROUPS]
