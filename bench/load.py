"""The load generator: many connections in one process, each with one request under way at a time."""

import resource
import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.connections import Connection


@dataclass(frozen=True)
class Load:
    """What a run of the load generator measured. Times are in seconds."""

    requests: int
    seconds: float
    latencies: Sequence[float]
    generator_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Requests acknowledged per second."""
        return self.requests / self.seconds

    def percentile(self, percent: float) -> float:
        """Latency in seconds below which `percent` of the requests were answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def run_load(connections: Sequence[Connection], seconds: float, *, depth: int = 1, rate: float | None = None) -> Load:
    """Load a server for `seconds` and wait for the last answers.

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
        is_over = now - started >= seconds
        while idle and not is_over and (rate is None or index <= (now - started) * rate):
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
    return Load(len(latencies), elapsed, latencies, _cpu_seconds() - cpu_at_start)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
