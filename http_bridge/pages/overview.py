"""The overview: how much traffic there is, how much of it fails, how long it takes, and where."""

from dataclasses import dataclass

from http_bridge.pages import asking
from http_bridge.pages.asking import Asking
from http_bridge.pages.figures import Figures, PendingFigures
from http_bridge.pages.groups import Group, PendingGroups
from http_bridge.pages.ranges import Range
from server.query.relay.client import QueryRelay


@dataclass(frozen=True, slots=True)
class Overview:
    """What the overview shows."""

    figures: Figures
    endpoints: list[Group]
    hosts: list[Group]


def read_overview(relay: QueryRelay, period: Range, direction: str, sort: str) -> Overview:
    """Ask all that the overview shows, of one direction or, when it is empty, of both. Raises IngestError."""
    with Asking(relay) as questions:
        figures = PendingFigures(questions, period, {"direction": direction or None})
        endpoints = PendingGroups(questions, asking.TOP_ENDPOINTS, period, direction, sort)
        hosts = PendingGroups(questions, asking.TOP_HOSTS, period, direction, sort)
        return Overview(figures.get(), endpoints.get(), hosts.get())


def has_any_requests(relay: QueryRelay) -> bool:
    """Tell whether there is a request of any time. Raises IngestError."""
    always = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z", "perPage": 1, "mostCounted": 0}
    with Asking(relay) as questions:
        return bool(questions.ask(asking.LIST, always).get().items)
