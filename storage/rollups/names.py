"""The numbers that stand for names in stored groups: for each project, method and host, and those with endpoint.

Whoever gives numbers has the state of the rollups locked. A number never changes and is never given again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

import psycopg

MOST_REMEMBERED: Final = 200_000

_FIND = """
SELECT project, number, method, host, endpoint
  FROM rollup_names JOIN unnest(%s::integer[], %s::bigint[]) AS wanted (project, hash) USING (project, hash)
"""
_LAST = "SELECT project, max(number) FROM rollup_names WHERE project = ANY(%s) GROUP BY project"
_COPY = "COPY rollup_names (project, number, hash, method, host, endpoint) FROM STDIN"
_OF_NUMBERS = """
SELECT number, method, host, endpoint FROM rollup_names WHERE project = %s AND number = ANY(%s)
"""


class Name(NamedTuple):
    """A name of a project; one without endpoint is of a host."""

    project: int
    method: str
    host: str
    endpoint: str | None


def hash_of(method: str, host: str, endpoint: str | None) -> int:
    """Return what names are found by; different ones may have the same."""
    # No text of Postgres has NUL.
    texts = (method, host) if endpoint is None else (method, host, endpoint)
    return int.from_bytes(blake2b("\0".join(texts).encode(), digest_size=8).digest(), signed=True)


def names_of(connection: psycopg.Connection, project: int, numbers: Collection[int]) -> dict[int, Name]:
    """Return the names that numbers of a project stand for. Raises psycopg.Error."""
    found = connection.execute(_OF_NUMBERS, (project, list(numbers))).fetchall()
    return {number: Name(project, *texts) for number, *texts in found}


class Names:
    """The numbers of names, as far as this process knows them."""

    def __init__(self) -> None:
        self._numbers: dict[Name, int] = {}

    def numbers(self, connection: psycopg.Connection, names: Iterable[Name]) -> Mapping[Name, int]:
        """Return the numbers of names, these among them, which get one if they have none. Raises psycopg.Error."""
        if len(self._numbers) > MOST_REMEMBERED:
            self.forget_all()
        missing = list({name for name in names if name not in self._numbers})
        if missing:
            hashes = [hash_of(*name[1:]) for name in missing]
            found = connection.execute(_FIND, ([name.project for name in missing], hashes)).fetchall()
            self._numbers |= {Name(project, *texts): number for project, number, *texts in found}
            self._add(connection, [name for name in missing if name not in self._numbers])
        return self._numbers

    def forget_all(self) -> None:
        """Forget what a transaction that was rolled back may have added."""
        self._numbers.clear()

    def _add(self, connection: psycopg.Connection, names: list[Name]) -> None:
        if not names:
            return
        projects = list({name.project for name in names})
        last: defaultdict[int, int] = defaultdict(int, connection.execute(_LAST, (projects,)).fetchall())
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for name in sorted(names, key=str):
                last[name.project] += 1
                self._numbers[name] = last[name.project]
                copy.write_row((name.project, last[name.project], hash_of(*name[1:]), *name[1:]))
