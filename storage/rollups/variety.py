"""A bound on endless variety: beyond so many hosts or endpoints of a project's day, new ones count as `{other}`."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import psycopg

from storage.endpoints import OTHER
from storage.rollups.groups import DAY_US, Level, RowGroup

MOST_HOSTS: Final = 1_000
MOST_ENDPOINTS: Final = 10_000  # with their method and host
_DAYS_REMEMBERED = 200

_Names = dict[Level, set[tuple[str, ...]]]

_EPOCH_DAY = "'2000-01-01 00:00+00'::timestamptz + %(day)s * interval '1 day'"
# A day's names are those of its groups in any table.
_STORED = f"""
SELECT DISTINCT level, method, host, endpoint
  FROM (SELECT * FROM rollup_minutes UNION ALL SELECT * FROM rollup_hours UNION ALL SELECT * FROM rollup_days) AS stored
 WHERE project = %(project)s AND level IN (1, 2)
   AND start >= {_EPOCH_DAY} AND start < {_EPOCH_DAY} + interval '1 day'
"""


class Variety:
    """Which hosts and endpoints of each project and day have groups of their own, as far as this process knows."""

    def __init__(self) -> None:
        self._days: OrderedDict[tuple[int, int], _Names] = OrderedDict()
        self.others = 0  # rows that were counted as {other}

    def load(self, connection: psycopg.Connection, groups: Iterable[RowGroup]) -> None:
        """Learn the names that are stored of days that these groups are of. Raises psycopg.Error."""
        for project, day in {(group.project, group.minute_us // DAY_US) for group in groups}:
            if (project, day) not in self._days:
                self._days[project, day] = _read_names(connection, project, day)

    def bounded(self, group: RowGroup, requests: int) -> tuple[str, str]:
        """Return the host and endpoint that a group of so many rows is counted under."""
        names = self._days[group.project, group.minute_us // DAY_US]
        if not _admits(names[Level.HOST], (group.host,), MOST_HOSTS):
            self.others += requests
            return OTHER, OTHER
        if not _admits(names[Level.ENDPOINT], (group.method, group.host, group.endpoint), MOST_ENDPOINTS):
            self.others += requests
            return group.host, OTHER
        return group.host, group.endpoint

    def forget(self) -> None:
        """Forget the days that were not needed for the longest time."""
        while len(self._days) > _DAYS_REMEMBERED:
            self._days.popitem(last=False)

    def forget_all(self) -> None:
        """Forget what a transaction that was rolled back may have added."""
        self._days.clear()


def _admits(names: set[tuple[str, ...]], name: tuple[str, ...], most: int) -> bool:
    if name in names:
        return True
    if len(names) >= most:
        return False
    names.add(name)
    return True


def _read_names(connection: psycopg.Connection, project: int, day: int) -> _Names:
    names: _Names = {Level.HOST: set(), Level.ENDPOINT: set()}
    for level, method, host, endpoint in connection.execute(_STORED, {"project": project, "day": day}):
        if level == Level.HOST:
            names[Level.HOST].add((host,))
        elif endpoint != OTHER:
            names[Level.ENDPOINT].add((method, host, endpoint))
    return names
