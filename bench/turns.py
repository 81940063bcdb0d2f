"""`python -m bench.turns BEFORE [AFTER]`: two servers side by side, loaded in turns of seconds.

A shared machine changes its speed within minutes, which two runs of `make bench` one after the other show as a
difference. Here each load has its counterpart seconds later, and the ratios' medians are printed, with their quartiles.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles

from bench.different_rows import RollupMeter
from bench.processes import COMMAND, CpuMeter
from bench.stand import Stand, run_stand
from bench.targets import HTTP, STREAM, UNARY, Shape

SHAPES = (Shape(HTTP, 100, 16), Shape(HTTP, 100, 64), Shape(UNARY, 100, 16), Shape(STREAM, 100, 16), Shape(HTTP, 1, 64))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a line for each load and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the `seestack-ingest` of another checkout")
    parser.add_argument("after", type=Path, nargs="?", default=COMMAND)
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args(arguments)
    with run_stand(options.before) as before, run_stand(options.after) as after:
        for shape in SHAPES:
            _measure(before, shape)
            _measure(after, shape)
            pairs = [_pair(before, after, shape, turn) for turn in range(options.turns)]
            for figure in pairs[0]:
                low, middle, high = quantiles((pair[figure] for pair in pairs), n=4)
                sys.stdout.write(f"{shape!s:24} {figure:28} {middle:5.2f}  ({low:.2f} to {high:.2f})\n")
            sys.stdout.flush()


def _pair(before: Stand, after: Stand, shape: Shape, turn: int) -> Mapping[str, float]:
    """Return the ratios after : before; which of them comes first changes by turn."""
    if turn % 2:
        new, old = _measure(after, shape), _measure(before, shape)
    else:
        old, new = _measure(before, shape), _measure(after, shape)
    return {figure: new[figure] / old[figure] for figure in old}


def _measure(stand: Stand, shape: Shape) -> Mapping[str, float]:
    rollups = RollupMeter(stand.database)
    with CpuMeter(stand.server) as cpu:
        load, _ = stand.load(shape)
        rollups.wait_until_kept()
    rows = load.requests * shape.batch_rows
    return {
        "requests/s": load.rate,
        "server us a row": cpu.server_seconds / rows,
        "Postgres us a row": cpu.postgres_seconds / rows,
        "both us a row": (cpu.server_seconds + cpu.postgres_seconds) / rows,
    }


if __name__ == "__main__":
    main()
