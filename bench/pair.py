"""`python -m bench.pair BEFORE [AFTER]`: two servers that are loaded at the same time, on one machine.

A shared machine changes its speed within minutes, and what runs one after the other shows that as a difference. Here
both have the same moments, so that what a row costs them can be compared; rates are those of servers that share it.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles

import psutil

from bench.different_rows import RollupMeter
from bench.processes import COMMAND, CpuMeter
from bench.stand import Stand, run_stand
from bench.targets import HTTP, STREAM, UNARY, Shape

SHAPES = (Shape(HTTP, 100, 16), Shape(HTTP, 100, 64), Shape(UNARY, 100, 16), Shape(STREAM, 100, 16), Shape(HTTP, 1, 64))

Figures = Mapping[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a line for each load and figure: medians, and the quartiles of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the `seestack-ingest` of another checkout")
    parser.add_argument("after", type=Path, nargs="?", default=COMMAND)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    with run_stand(options.before) as before, run_stand(options.after) as after, ThreadPoolExecutor(2) as pool:
        for shape in SHAPES:
            rounds = []
            for _ in range(1 + options.rounds):
                of_both = [pool.submit(_measure, stand, shape) for stand in (before, after)]
                rounds.append([of_one.result() for of_one in of_both])
            _print(shape, rounds[1:])


def _measure(stand: Stand, shape: Shape) -> Figures:
    rollups = RollupMeter(stand.database)
    main_process_before = _own_seconds(stand.server.process)
    with CpuMeter(stand.server) as cpu:
        load, _ = stand.load(shape)
        rollups.wait_until_kept()
    rows = load.requests * shape.batch_rows
    return {
        "requests/s": load.rate,
        "server us a row": cpu.server_seconds / rows * 1e6,
        "of it the main process": (_own_seconds(stand.server.process) - main_process_before) / rows * 1e6,
        "Postgres us a row": cpu.postgres_seconds / rows * 1e6,
        "of it for the rollups": rollups.seconds() / rows * 1e6,
        "both us a row": (cpu.server_seconds + cpu.postgres_seconds) / rows * 1e6,
    }


def _own_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process without its children: that of a server's main process is mostly for rollups."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _print(shape: Shape, rounds: Sequence[Sequence[Figures]]) -> None:
    for figure in rounds[0][0]:
        before, after = (median(of_both[index][figure] for of_both in rounds) for index in (0, 1))
        line = f"{shape!s:24} {figure:24} {before:10,.2f} {after:10,.2f}"
        if before:  # an earlier version may have no part of its own for it
            low, middle, high = quantiles((new[figure] / old[figure] for old, new in rounds), n=4)
            line += f"   x {middle:.2f} ({low:.2f} to {high:.2f})"
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
