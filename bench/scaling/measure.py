"""`python -m bench.scaling.measure BINARIES FILE`: what the simulator is fed with, and what it is compared with.

Loads of different shapes are sent to one Postgres and to clusters, in turns. Those that are `costs` say what a part
does for a row, a batch, a flush and a second; the others are the points that must be told from these. These last
longer: rollups follow the rows by up to five seconds, and take processors from a load only once it has lasted so long.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.generators import generate
from bench.load import run_load
from bench.scaling.stand import ROLLUPS_S, Stand, running_stand
from bench.targets import HTTP, Shape, connect
from tests.citus.cluster import running_cluster

PROJECTS = 12
SHARDS = 32
WARM_UP_S = 1.5


@dataclass(frozen=True)
class Case:
    """A load: so many connections, each with one batch under way, of as many a second as they get, or of `rate`."""

    nodes: int
    batch_rows: int
    connections: int
    rate: float = 0.0  # batches a second
    is_cost: bool = False


_SHAPES = ((100, 1, 0.2), (100, 4, 30.0), (1, 64), (10, 64), (100, 6), (100, 128))
COSTS = [Case(nodes, *shape, is_cost=True) for nodes in (0, 2) for shape in _SHAPES]  # type: ignore[misc]
POINTS = [
    *(Case(0, 100, connections) for connections in (16, 32, 64)),
    *(Case(nodes, 100, 32) for nodes in (1, 2, 3)),
    Case(3, 100, 64),
]


@dataclass(frozen=True)
class Run:
    """What one load used. CPU in seconds, of all nodes together."""

    seconds: float  # of the load
    seconds_in_all: float  # with the time in which rollups were finished
    batches: float
    flushes: float
    sync_s: float  # for each time that a commit waited for the disk
    server_s: float
    coordinator_s: float
    nodes_s: float
    generator_s: float
    hot_shards: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the turn of each load that was least disturbed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binaries", type=Path, help="the bin folder of a Postgres that has Citus")
    parser.add_argument("file", type=Path, help="the JSON file to write")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load for costs")
    parser.add_argument("--point-seconds", type=float, default=15.0, help="of each of the others")
    options = parser.parse_args(arguments)
    runs: dict[Case, list[Run]] = {case: [] for case in [*COSTS, *POINTS]}
    for _ in range(options.turns):
        for nodes in sorted({case.nodes for case in runs}):
            with (
                running_cluster(options.binaries, nodes=nodes, fsync=True, shards=SHARDS) as cluster,
                running_stand(cluster, nodes, PROJECTS) as stand,
            ):
                for case in (case for case in runs if case.nodes == nodes):
                    seconds = options.seconds if case.is_cost else options.point_seconds
                    runs[case].append(_run(stand, case, seconds))
                    print(json.dumps(asdict(case) | asdict(runs[case][-1])), flush=True)
    measured = {
        "when": time.strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)),
        "runs": [asdict(case) | asdict(_least_disturbed(case, of_case)) for case, of_case in runs.items()],
    }
    options.file.write_text(json.dumps(measured, indent=1) + "\n")


def _run(stand: Stand, case: Case, seconds: float) -> Run:
    batches = stand.batches(case.batch_rows)
    shape = Shape(HTTP, case.batch_rows, case.connections)
    if not case.rate:
        generate(stand.target, shape, batches, WARM_UP_S)
    before = stand.usage()
    if case.rate:
        load = run_load(connect(stand.target, shape, batches), seconds + ROLLUPS_S, rate=case.rate)
    else:
        load = generate(stand.target, shape, batches, seconds)
    time.sleep(ROLLUPS_S)
    used = stand.usage() - before
    seconds = load.requests / load.rate
    return Run(
        seconds, used.at, used.flush_rows / case.batch_rows, used.flushes, used.sync_s / max(used.syncs, 1.0),
        used.server_s, used.coordinator_s, used.nodes_s, load.generator_cpu_share * seconds, stand.hot_shards,
    )  # fmt: skip


def _least_disturbed(case: Case, runs: Sequence[Run]) -> Run:
    """Return the turn that other work on the machine took the least from: the fastest, or of a rate, the cheapest."""
    if case.rate:
        return min(runs, key=lambda run: run.server_s + run.nodes_s)
    return max(runs, key=lambda run: run.batches / run.seconds)


if __name__ == "__main__":
    main()
