"""How many servers and nodes so many rows a day need, and what ends first: arithmetic, but for the size of a flush."""

import math
from dataclasses import dataclass

from bench.scaling.costs import Costs, ServerCosts
from bench.scaling.simulation import simulate_node
from server.settings import MAX_DEFAULT_WORKERS
from storage.distribution.node_writers import NodeWriters

DAY_S = 86_400
BATCH_ROWS = 100
PEAK = 3.0  # times the mean
BUSY = 0.6  # of its processors, what a machine may use at the peak
# docs/schema.md: of a row on a closed day, and what is written for it until then (WAL, table and indexes).
BYTES_A_ROW = 186
WRITTEN_A_ROW = 300 + 198
KEY_AGE_S = 5.0  # after which a worker looks a key up again
# Of the coordinator for a statement that looks keys up, and for each key in it.
LOOKUP_US = 320.0
LOOKED_UP_KEY_US = 3.4
_LOOKUP_S = 0.0007  # that a statement takes, in which others gather
_ROUNDS = 4


@dataclass(frozen=True)
class Machines:
    """What machines there are, and what is to be kept on them."""

    server_cores: int = 8
    node_cores: int = 16
    node_disk_tb: float = 15.0
    node_write_mb: float = 500.0  # a second
    node_connections: int = 500
    coordinator_cores: int = 4
    retention_days: int = 30
    keys: int = 1_000  # in use at the same time


@dataclass(frozen=True)
class Size:
    """What so many rows a day need."""

    rows_a_day: float
    peak: float  # rows a second
    servers: int
    server_cores: float
    nodes_for_cpu: int
    nodes: int
    node_cores: float
    coordinator_cores: float
    rows_a_flush: float
    server_us: float
    node_us: float
    connections_a_node: int
    disk_tb_a_day: float
    disk_tb: float
    written_mb_a_node: float


def size(costs: Costs, machines: Machines, rows_a_day: float) -> Size:
    """Return how many machines are needed, with a peak of PEAK times the mean and batches of BATCH_ROWS.

    More workers and more nodes mean fewer rows a flush, which cost more each: found by trying in turn.
    """
    peak = rows_a_day / DAY_S * PEAK
    disk_tb = rows_a_day * machines.retention_days * BYTES_A_ROW / 1e12
    workers = nodes = nodes_for_cpu = 1
    for _ in range(_ROUNDS):
        nodes = max(nodes_for_cpu, math.ceil(disk_tb / machines.node_disk_tb))
        hot_shards = hot_shards_of(nodes)
        outcome = simulate_node(
            costs, cores=machines.node_cores, writers=workers, hot_shards=hot_shards,
            batches_per_second=peak / nodes / BATCH_ROWS, rows=BATCH_ROWS, seconds=_seconds(peak / nodes),
        )  # fmt: skip
        server_us = server_row_us(costs.server, outcome.batches_per_flush)
        workers = max(2, math.ceil(peak * server_us / 1e6 / BUSY))
        nodes_for_cpu = max(1, math.ceil(peak * outcome.nodes_us / 1e6 / BUSY / machines.node_cores))
    servers = max(2, math.ceil(workers / min(machines.server_cores, MAX_DEFAULT_WORKERS)))
    keys_us = workers * lookups_us(machines.keys, peak / workers / BATCH_ROWS)
    return Size(
        rows_a_day=rows_a_day,
        peak=peak,
        servers=servers,
        server_cores=peak * server_us / 1e6,
        nodes_for_cpu=nodes_for_cpu,
        nodes=nodes,
        node_cores=peak * outcome.nodes_us / 1e6,
        coordinator_cores=(costs.coordinator_second + keys_us) / 1e6,
        rows_a_flush=outcome.batches_per_flush * BATCH_ROWS,
        server_us=server_us,
        node_us=outcome.nodes_us,
        connections_a_node=workers * NodeWriters.MAX_CONNECTIONS,
        disk_tb_a_day=rows_a_day * BYTES_A_ROW / 1e12,
        disk_tb=disk_tb,
        written_mb_a_node=peak / nodes * WRITTEN_A_ROW / 1e6,
    )


def hot_shards_of(nodes: int) -> int:
    """Return how many shards of a node have rows: of 32 for up to eight nodes, else of four for each node."""
    return max(32, 4 * nodes) // nodes


def server_row_us(costs: ServerCosts, batches_per_flush: float) -> float:
    """Return what a server does for a row."""
    return costs.row + (costs.batch + costs.flush / batches_per_flush) / BATCH_ROWS


def lookups_us(keys: int, batches_per_second: float) -> float:
    """Return what the coordinator does a second for the keys of one worker, which gets so many batches."""
    lookups = 1 / (KEY_AGE_S / keys + 1 / batches_per_second)
    return lookups * (LOOKUP_US / max(1.0, lookups * _LOOKUP_S) + LOOKED_UP_KEY_US)


def limits(costs: Costs, machines: Machines) -> dict[str, float]:
    """Return how many rows a day each part carries by itself, the least first.

    Flushes have few rows, as they do with many servers: what a part carries at the least.
    """
    node_us = costs.node.row + (costs.node.flush + costs.node.shard) / BATCH_ROWS
    server_us = server_row_us(costs.server, 1.0)
    a_day = DAY_S / PEAK
    of_worker_us = lookups_us(machines.keys, BUSY * 1e6 / server_us / BATCH_ROWS)
    workers_for_keys = machines.coordinator_cores * BUSY * 1e6 / of_worker_us
    workers_for_connections = machines.node_connections / NodeWriters.MAX_CONNECTIONS
    found = {
        "a node's disk": machines.node_disk_tb * 1e12 / BYTES_A_ROW / machines.retention_days,
        "a server's worker": BUSY * 1e6 / server_us * a_day,
        f"a server of {machines.server_cores} workers": machines.server_cores * BUSY * 1e6 / server_us * a_day,
        "a node's processors, so one project": machines.node_cores * BUSY * 1e6 / node_us * a_day,
        "a node's writes to its disk": machines.node_write_mb * 1e6 / WRITTEN_A_ROW * a_day,
        f"a coordinator that looks up {machines.keys:,} keys": workers_for_keys * BUSY * 1e6 / server_us * a_day,
        "a node's connections": workers_for_connections * BUSY * 1e6 / server_us * a_day,
    }
    return dict(sorted(found.items(), key=lambda each: each[1]))


def _seconds(rows_per_second: float) -> float:
    """Return how long to simulate: some thousand batches."""
    return min(max(3_000 * BATCH_ROWS / rows_per_second, 0.3), 20.0)
