"""The loads of `make bench`: throughput and CPU, the curve, latency at half load, memory."""

from bench.generators import generate, generate_timed
from bench.noop import PATH as NOOP_PATH
from bench.processes import peak_memory_bytes
from bench.report import Measurement
from bench.stand import SECONDS, Stand
from bench.targets import HTTP, UNARY, Shape, Target

CURVE_CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128)
OVERLOAD_CONNECTIONS = 640
HALF_LOAD = Shape(HTTP, 100, 64)


def measure(stand: Stand, noop: Target, shape: Shape, copy_rate: float, encoding: str) -> Measurement:
    """Load the server, and before it the no-op server, which parses such a batch and answers."""
    noop_rate = generate(noop, shape, stand.batches(shape.batch_rows, NOOP_PATH), SECONDS / 3).rate
    load, cpu = stand.load(shape)
    rows = load.requests * shape.batch_rows
    return Measurement(
        shape=shape,
        requests_per_second=load.rate,
        of_copy=load.rate * shape.batch_rows / copy_rate,
        of_noop=load.rate / noop_rate,
        p50_ms=load.percentile(50) * 1000,
        p99_ms=load.percentile(99) * 1000,
        server_us=cpu.server_seconds / rows * 1e6,
        postgres_us=cpu.postgres_seconds / rows * 1e6,
        generator=load.generator,
        generator_cpu_share=load.generator_cpu_share,
        encoding=encoding,
    )


def measure_curve(stand: Stand) -> list[dict[str, float]]:
    """Return throughput and latency of 100-row batches over HTTP as the number of connections rises."""
    points = []
    for connections in CURVE_CONNECTIONS:
        load, _ = stand.load(Shape(HTTP, 100, connections))
        points.append(
            {
                "connections": connections,
                "rows_per_second": load.rate * 100,
                "p50_ms": load.percentile(50) * 1000,
                "p99_ms": load.percentile(99) * 1000,
            }
        )
    return points


def measure_latency(stand: Stand, noop: Target) -> dict[str, float]:
    """Return the latency in ms of a lone client, and of clients who together send at half the rate that they can.

    What the no-op server needs at the same rate shows the generator's own share.
    """
    alone = generate_timed(stand.server.target, Shape(HTTP, 100, 1), stand.batches(100), SECONDS)
    # A shared machine changes its speed by the minute, so the highest load is measured right before.
    highest, _ = stand.load(HALF_LOAD)
    rate = highest.rate / 2
    half, _ = stand.load(HALF_LOAD, rate=rate)
    to_noop = stand.batches(HALF_LOAD.batch_rows, NOOP_PATH)
    nothing = generate_timed(noop, HALF_LOAD, to_noop, SECONDS, rate=rate)
    return {
        "a lone client, median": alone.percentile(50) * 1000,
        "a lone client, p99": alone.percentile(99) * 1000,
        "at half of the highest load, median": half.percentile(50) * 1000,
        "at half of the highest load, p99": half.percentile(99) * 1000,
        "the no-op server at this load, p99": nothing.percentile(99) * 1000,
        "p99 at half load : p99 alone": half.percentile(99) / alone.percentile(99),
    }


def measure_memory(stand: Stand) -> dict[str, float]:
    """Return the most memory a worker has had, in MiB: until now, and when many connections are sending."""
    memory = _peak_memory(stand, "up to now")
    for protocol in (HTTP, UNARY):
        stand.load(Shape(protocol, 100, OVERLOAD_CONNECTIONS))
    return memory | _peak_memory(stand, f"with {OVERLOAD_CONNECTIONS} connections")


def _peak_memory(stand: Stand, when: str) -> dict[str, float]:
    modules = ("http_bridge", "server.grpc.worker")
    return {
        f"{module} worker, {when}": max(
            peak_memory_bytes(worker) / 2**20 for worker in stand.server.workers if module in worker.cmdline()
        )
        for module in modules
    }
