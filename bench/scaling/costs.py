"""What each part costs, fitted to the measured loads that are there for it (`bench.scaling.measure`)."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from statistics import median
from typing import Any

MEASURED = Path(__file__).with_name("measured.json")
_ROUNDS = 20_000

Run = Mapping[str, float]


@dataclass(frozen=True)
class ServerCosts:
    """CPU of a server, in microseconds."""

    second: float
    flush: float
    batch: float
    row: float


@dataclass(frozen=True)
class NodeCosts:
    """CPU of a Postgres, in microseconds."""

    second: float
    hot_shard_second: float  # of each shard that rows come for: rollups
    flush: float
    shard: float  # further ones than the first that a flush is about
    row: float


@dataclass(frozen=True)
class Costs:
    """All costs; those of servers and Postgres with one Postgres, and with nodes."""

    server_of_one: ServerCosts
    server: ServerCosts
    one: NodeCosts
    node: NodeCosts
    coordinator_second: float
    generator_batch: float
    sync_s: float  # that a commit waits for the disk


def read_measured(path: Path = MEASURED) -> Mapping[str, Any]:
    """Return what was measured: `runs`, `cores` and `when`."""
    measured: Mapping[str, Any] = json.loads(path.read_text())
    return measured


def fit(measured: Mapping[str, Any]) -> Costs:
    """Return the costs, from those runs that are there for them."""
    runs = [run for run in measured["runs"] if run["is_cost"]]
    one = [run for run in runs if not run["nodes"]]
    several = [run for run in runs if run["nodes"]]
    generator = [run for run in runs if not run["rate"] and run["batch_rows"] == 100]
    of_one = NodeCosts(*_fit(one, _node_amounts, "nodes_s"))
    # Flushes of many shards are large ones as well, so the loads hardly tell one from the other; but a node does what
    # one Postgres does, and more.
    least = (0.0, 0.0, of_one.flush, 0.0, of_one.row)
    return Costs(
        server_of_one=ServerCosts(*_fit(one, _server_amounts, "server_s")),
        server=ServerCosts(*_fit(several, _server_amounts, "server_s")),
        one=of_one,
        node=NodeCosts(*_fit(several, _node_amounts, "nodes_s", least)),
        coordinator_second=1e6 * _sum(several, "coordinator_s") / _sum(several, "seconds_in_all"),
        generator_batch=1e6 * _sum(generator, "generator_s") / _sum(generator, "batches"),
        sync_s=median(run["sync_s"] for run in runs),
    )


def shards_in(batches: float, hot_shards: float) -> float:
    """Return about how many of a node's shards a flush is about: those of its batches and of the flush before."""
    missed: float = (1 - 1 / hot_shards) ** (2 * batches)
    return hot_shards * (1 - missed)


def _server_amounts(run: Run) -> list[float]:
    return [run["seconds_in_all"], run["flushes"], run["batches"], run["batches"] * run["batch_rows"]]


def _node_amounts(run: Run) -> list[float]:
    nodes = max(run["nodes"], 1)
    further = shards_in(run["batches"] / run["flushes"], max(run["hot_shards"] / nodes, 1.0)) - 1
    hot_seconds = run["hot_shards"] * run["seconds"] * min(run["batches"] / run["seconds"] / run["hot_shards"], 1.0)
    rows = run["batches"] * run["batch_rows"]
    return [nodes * run["seconds_in_all"], hot_seconds, run["flushes"], run["flushes"] * further, rows]


def _fit(
    runs: Sequence[Run], amounts: Callable[[Run], list[float]], used: str, least: Sequence[float] | None = None
) -> list[float]:
    """Return the costs with which the runs' CPU times have the least relative errors, in microseconds.

    None is below 0, or below that of `least`.
    """
    rows = [[amount / run[used] for amount in amounts(run)] for run in runs]
    bounds = [bound * 1e-6 for bound in least or [0.0] * len(rows[0])]
    costs = list(bounds)
    for _ in range(_ROUNDS):
        before = list(costs)
        for index in range(len(costs)):
            square = sum(row[index] ** 2 for row in rows)
            # What the other costs leave of each run.
            rest = [1 - sum(map(mul, costs, row)) + costs[index] * row[index] for row in rows]
            best = sum(map(mul, (row[index] for row in rows), rest)) / square if square else 0.0
            costs[index] = max(best, bounds[index])
        if all(math.isclose(late, early, rel_tol=1e-9) for late, early in zip(costs, before, strict=True)):
            break
    return [cost * 1e6 for cost in costs]


def _sum(runs: Sequence[Run], name: str) -> float:
    return sum(run[name] for run in runs)
