"""`python -m bench.scaling BINARIES`: CPU a row of server, coordinator and nodes, for several numbers of nodes."""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.load import run_load
from bench.scaling.stand import ROLLUPS_S, Stand, running_stand
from bench.targets import HTTP, Shape, connect
from tests.citus.cluster import running_cluster

PROJECTS = 12
CONNECTIONS = 32
WARM_UP_S = 3.0


@dataclass(frozen=True)
class Point:
    """What was measured; CPU in microseconds a row."""

    nodes: int  # 0: one Postgres without Citus
    batch_rows: int
    rows_per_second: float
    server_us: float
    coordinator_us: float
    nodes_us: float
    sender_us: float
    rows_per_flush: float
    load_average: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a line of JSON for each point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binaries", type=Path, help="the bin folder of a Postgres that has Citus")
    parser.add_argument("--nodes", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--batch-rows", type=int, nargs="+", default=[100])
    parser.add_argument("--shards", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args(arguments)
    for nodes in options.nodes:
        with (
            running_cluster(options.binaries, nodes=nodes, fsync=True, shards=options.shards) as cluster,
            running_stand(cluster, nodes, PROJECTS) as stand,
        ):
            for batch_rows in options.batch_rows:
                print(json.dumps(asdict(_measure(stand, batch_rows, options.seconds))), flush=True)


def _measure(stand: Stand, batch_rows: int, seconds: float) -> Point:
    batches = stand.batches(batch_rows)
    shape = Shape(HTTP, batch_rows, CONNECTIONS)
    run_load(connect(stand.target, shape, batches), WARM_UP_S)
    before = stand.usage()
    load = run_load(connect(stand.target, shape, batches), seconds)
    time.sleep(ROLLUPS_S)
    used = stand.usage() - before
    rows = load.requests * batch_rows
    sender_s = load.generator_cpu_share * load.requests / load.rate
    server, coordinator, of_nodes, sender = (
        each * 1e6 / rows for each in (used.server_s, used.coordinator_s, used.nodes_s, sender_s)
    )
    return Point(
        stand.nodes, batch_rows, round(load.rate * batch_rows), round(server, 2), round(coordinator, 2),
        round(of_nodes, 2), round(sender, 2),
        round(rows / max(1.0, used.flushes)), round(os.getloadavg()[0], 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
