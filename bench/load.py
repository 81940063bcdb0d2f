"""The load generator: many connections in one process, each with one request under way at a time."""

import resource
import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from bench.connections import Connection


@dataclass(frozen=True)
class Load:
    """What a load generator measured: requests acknowledged, requests/s, and latencies in seconds.

    The latencies may be a sample. The generator's share is of one processor.
    """

    requests: int
    rate: float
    latencies: Sequence[float]
    generator_cpu_share: float
    generator: str

    def percentile(self, percent: float) -> float:
        """Latency in seconds below which `percent` of the requests were answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def run_load(
    connections: Sequence[Connection],
    seconds: float = inf,
    *,
    requests: float = inf,
    depth: int = 1,
    rate: float | None = None,
) -> Load:
    """Load a server for `seconds` or with so many requests, and wait for the last answers.

    Each connection has up to `depth` requests under way; a request's latency counts from when it was sent. With a
    `rate` (requests a second over all connections) requests are due at even times and their latencies count from
    when they were due, so that a server that falls behind shows it. Raises LoadError.
    """
    selector = selectors.DefaultSelector()
    sent_at: dict[Connection, list[float]] = {connection: [] for connection in connections}
    idle = list(connections) * depth
    latencies: list[float] = []
    index = 0
    cpu_at_start = _cpu_seconds()
    started = time.perf_counter()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    while True:
        now = time.perf_counter()
        is_over = now - started >= seconds or index >= requests
        while idle and not is_over and index < requests and (rate is None or index <= (now - started) * rate):
            connection = idle.pop()
            sent_at[connection].append(now if rate is None else started + index / rate)
            connection.send(index)
            index += 1
        if is_over and len(idle) == len(connections) * depth:
            break
        wait = 1.0 if rate is None or is_over else max(0.0, started + index / rate - time.perf_counter())
        for ready, _ in selector.select(min(wait, 1.0)):
            connection = ready.data
            for _ in range(connection.receive()):
                latencies.append(time.perf_counter() - sent_at[connection].pop(0))
                idle.insert(0, connection)
    elapsed = time.perf_counter() - started
    for connection in connections:
        selector.unregister(connection.socket)
        connection.socket.close()
    selector.close()
    share = (_cpu_seconds() - cpu_at_start) / elapsed
    return Load(len(latencies), len(latencies) / elapsed, latencies, share, "Python")


def children_cpu_seconds() -> float:
    """Return the CPU time of those processes started by this one that have ended."""
    return _cpu_seconds(resource.RUSAGE_CHILDREN)


def _cpu_seconds(whose: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime
