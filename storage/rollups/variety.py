"""A bound on endless variety: beyond so many hosts or endpoints of a project's day, new ones count as `{other}`."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

import psycopg

from storage.endpoints import OTHER
from storage.rollups.groups import DayName
from storage.rollups.names import Name, names_of
from storage.rollups.stored_groups import numbers_in

MOST_HOSTS: Final = 1_000
MOST_ENDPOINTS: Final = 10_000  # with their method and host
_DAYS_REMEMBERED = 200

_EPOCH_DAY = "'2000-01-01 00:00+00'::timestamptz + %(day)s * interval '1 day'"
_OF_DAY = f"""
SELECT groups FROM {{table}}
 WHERE project = %(project)s AND level IN (1, 2)
   AND start >= {_EPOCH_DAY} AND start < {_EPOCH_DAY} + interval '1 day'
"""
# A day's names are those of its groups in any table.
_STORED = " UNION ALL ".join(_OF_DAY.format(table=table) for table in ("rollup_minutes", "rollup_hours", "rollup_days"))


class _Seen(NamedTuple):
    hosts: set[str]
    endpoints: set[tuple[str, str, str]]


class Variety:
    """Which hosts and endpoints of each project and day have groups of their own, as far as this process knows."""

    def __init__(self) -> None:
        self._days: OrderedDict[tuple[int, int], _Seen] = OrderedDict()

    def load(self, connection: psycopg.Connection, names: Iterable[DayName]) -> None:
        """Learn the names that are stored of days that these are of. Raises psycopg.Error."""
        for project, day in {(name.project, name.day) for name in names}:
            if (project, day) not in self._days:
                self._days[project, day] = _read_names(connection, project, day)

    def bounded(self, name: DayName) -> Name:
        """Return the name that rows of this one count under."""
        project, day, method, host, endpoint = name
        seen = self._days[project, day]
        if host not in seen.hosts:
            if len(seen.hosts) >= MOST_HOSTS:
                return Name(project, method, OTHER, OTHER)
            seen.hosts.add(host)
        if (method, host, endpoint) not in seen.endpoints:
            if len(seen.endpoints) >= MOST_ENDPOINTS:
                return Name(project, method, host, OTHER)
            seen.endpoints.add((method, host, endpoint))
        return Name(project, method, host, endpoint)

    def forget(self) -> None:
        """Forget the days that were not needed for the longest time."""
        while len(self._days) > _DAYS_REMEMBERED:
            self._days.popitem(last=False)

    def forget_all(self) -> None:
        """Forget what a transaction that was rolled back may have added."""
        self._days.clear()


def _read_names(connection: psycopg.Connection, project: int, day: int) -> _Seen:
    numbers: set[int] = set()
    with connection.cursor(binary=True) as cursor:
        for (data,) in cursor.execute(_STORED.encode(), {"project": project, "day": day}):
            numbers |= numbers_in(data)
    seen = _Seen(set(), set())
    for name in names_of(connection, project, numbers).values():
        if name.endpoint is None:
            seen.hosts.add(name.host)
        elif name.endpoint != OTHER:
            seen.endpoints.add((name.method, name.host, name.endpoint))
    return seen
