"""What the processes of a server hold: memory, file descriptors, threads, and connections to Postgres."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import psutil
import psycopg

from bench.faults.stand import Stand

MEMORY, DESCRIPTORS, THREADS, CONNECTIONS = "memory, MiB", "file descriptors", "threads", "connections to Postgres"
# By how much each may grow and still count as flat: a share of what it was, and a number on top.
ALLOWED = {MEMORY: (0.10, 4.0), DESCRIPTORS: (0.0, 3.0), THREADS: (0.0, 1.0), CONNECTIONS: (0.0, 2.0)}

# All processes of a kind give their connections the same name.
_CONNECTIONS = """
SELECT application_name, count(*) FROM pg_stat_activity WHERE application_name LIKE 'seestack-ingest%' GROUP BY 1
"""

Holder = tuple[str, str]  # who, and what is held
Sample = dict[Holder, float]


@dataclass(frozen=True)
class Trend:
    """The medians of the first and the last quarter of a soak."""

    who: str
    what: str
    first: float
    last: float

    @property
    def most(self) -> float:
        """The most that the last quarter may have."""
        share, number = ALLOWED[self.what]
        return self.first * (1 + share) + number

    @property
    def is_flat(self) -> bool:
        """Tell whether it has not grown by more than is allowed."""
        return self.last <= self.most


def take_sample(stand: Stand) -> Sample:
    """Return what everybody holds now; connections only while Postgres answers."""
    sample: Sample = {}
    for process in stand.server.processes():
        with suppress(psutil.NoSuchProcess), process.oneshot():
            words = process.cmdline()
            who = f"{words[words.index('-m') + 2] if '-m' in words else 'supervisor'} {process.pid}"
            sample[who, MEMORY] = process.memory_info().rss / 2**20
            sample[who, DESCRIPTORS] = process.num_fds()
            sample[who, THREADS] = process.num_threads()
    with suppress(psycopg.OperationalError), stand.postgres.connect() as connection:
        for name, count in connection.execute(_CONNECTIONS):
            sample[name, CONNECTIONS] = count
    return sample


def find_trends(samples: Sequence[Sample]) -> list[Trend]:
    """Compare the first quarter of samples with the last; who is missing in one of them has 0 there."""
    quarter = max(1, len(samples) // 4)
    first, last = _medians(samples[:quarter]), _medians(samples[-quarter:])
    holders = sorted(first.keys() | last.keys())
    return [Trend(who, what, first.get((who, what), 0.0), last.get((who, what), 0.0)) for who, what in holders]


def _medians(samples: Iterable[Sample]) -> Sample:
    values: dict[Holder, list[float]] = {}
    for sample in samples:
        for holder, value in sample.items():
            values.setdefault(holder, []).append(value)
    return {holder: median(found) for holder, found in values.items()}
