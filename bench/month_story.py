"""What the data of a month tells: who sends how much and when, and what goes wrong.

Twenty projects have four services each, and share twenty dependencies: 100 hosts. Each host has 300 endpoints.
"""

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

from server.cli.sample_story import Incident, Row, Service, System, endpoints_of

PROJECTS = 20
SERVICES = 4  # of a project
DEPENDENCIES = 20  # of all projects
SMALL_PROJECT_ROWS = 1_000
DAYS = 30
SLICE = timedelta(minutes=5)
SLICES = DAYS * timedelta(days=1) // SLICE

_PEAK_HOUR = 14  # UTC
_WEEKEND = 0.5  # of the traffic of other days
# Hours before the end of the month, how many hours long, and what goes wrong.
_INCIDENTS = (
    (5.0, 0.5, Incident.BAD_DEPLOY),
    (9.0, 1.0, Incident.SLOW_DEPENDENCY),
    (6 * 24.0, 1.5, Incident.BAD_DEPLOY),
    (12 * 24.0, 4.0, Incident.SLOW_DEPENDENCY),
)
_ADJECTIVES = ("", "new-", "past-", "public-", "shared-", "draft-")
_NOUNS = ("orders", "carts", "users", "items", "prices", "reviews", "invoices", "teams", "files", "events")
_SERVICE_NAMES = ("api", "accounts", "stock", "billing")


def project_names() -> list[str]:
    """Return the names of the projects: the one with the most rows first, the small one last."""
    return [f"month-{number:02d}" for number in range(1, PROJECTS + 1)]


def make_systems() -> list[System]:
    """Return the services of each project."""
    endpoints = endpoints_of([adjective + noun for adjective in _ADJECTIVES for noun in _NOUNS])
    shared = [Service(f"dependency-{number:02d}.example.net", endpoints) for number in range(1, DEPENDENCIES + 1)]
    return [
        System([Service(f"{service}.{name}.example.com", endpoints) for service in _SERVICE_NAMES], shared)
        for name in project_names()
    ]


def rows_by_slice(rows: int, end: datetime) -> list[list[int]]:
    """Return how many of `rows` rows each project has in each SLICE of the month that ends at `end`."""
    weights = [1 / number**0.7 for number in range(1, PROJECTS)]
    small = min(SMALL_PROJECT_ROWS, rows // (2 * PROJECTS))
    rhythm = [_traffic_at(end - SLICE * (SLICES - number)) for number in range(SLICES)]
    # By fours: most traces have no more rows, so that few are cut off.
    return [_split(count, rhythm, unit=4) for count in [*_split(rows - small, weights, unit=1), small]]


def make_rows(
    system: System, rows: int, begin: datetime, end: datetime, *, before_the_end: timedelta, source: random.Random
) -> list[Row]:
    """Return exactly so many rows, of traces that end between two moments; the month's end comes so much later."""
    incident = _incident_at(before_the_end / timedelta(hours=1))
    begin_us, end_us = (int(moment.timestamp() * 1_000_000) for moment in (begin, end))
    made: list[Row] = []
    while len(made) < rows:
        made += system.make_trace(begin_us + int((end_us - begin_us) * source.random()), source, incident)
    return sorted(made[:rows], key=lambda row: row.timestamp)


def _traffic_at(moment: datetime) -> float:
    hours = (moment.astimezone(UTC).hour + moment.minute / 60 - _PEAK_HOUR) / 24
    return (1.1 + math.cos(2 * math.pi * hours)) * (_WEEKEND if moment.weekday() >= 5 else 1.0)


def _incident_at(hours_before_the_end: float) -> Incident:
    return next(
        (incident for before, long, incident in _INCIDENTS if before - long < hours_before_the_end <= before),
        Incident.NONE,
    )


def _split(total: int, weights: Sequence[float], *, unit: int) -> list[int]:
    """Return multiples of `unit` in the proportion of the weights; the last one also has what is left of `total`."""
    whole = math.fsum(weights)
    bounds = [0, *(unit * int(total * share / whole / unit) for share in accumulate(weights[:-1])), total]
    return [end - begin for begin, end in pairwise(bounds)]
