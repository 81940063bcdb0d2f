"""Sums over rows that rollups lack, made by the code that makes rollups: in their stored form, by minute."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from storage.reading.project_names import ProjectNames
from storage.rollups.aggregation import Aggregator
from storage.rollups.groups import Level, Times

_EVER: Final = -(2**62)
_MINUTES: Final = Times(kept_from_us=None, minutes_from_us=_EVER, hours_until_us=_EVER, days_until_us=_EVER)


class RowSums(NamedTuple):
    """Stored groups of one project; names have the numbers of this process."""

    rows: int
    minutes: dict[Level, list[tuple[int, bytes]]]  # each with its begin, in microseconds since 2000-01-01
    numbers: dict[Level, frozenset[int]]  # that are in the groups


def sums_of(aggregator: Aggregator, names: ProjectNames) -> RowSums:
    """Return what an aggregator has of the rows of a project."""
    found = aggregator.names()
    hosts = [names.number_of((name.method, name.host, None)) for name in found]
    endpoints = [names.number_of((name.method, name.host, name.endpoint)) for name in found]
    minutes: dict[Level, list[tuple[int, bytes]]] = {level: [] for level in Level}
    for stored in aggregator.stored(hosts, endpoints, _MINUTES):
        minutes[Level(stored.level)].append((stored.start_us, stored.groups))
    numbers = {Level.PROJECT: frozenset((0,)), Level.HOST: frozenset(hosts), Level.ENDPOINT: frozenset(endpoints)}
    return RowSums(sum(found.values()), minutes, numbers)


def numbers_in(sums: Iterable[RowSums], level: Level) -> set[int]:
    """Return the numbers of all names of a level."""
    return set[int]().union(*(each.numbers[level] for each in sums))
