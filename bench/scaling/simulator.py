"""`python -m bench.scaling.simulator`: whether the simulation tells what was measured, and what follows from it."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.scaling.costs import MEASURED, Costs, fit, read_measured
from bench.scaling.simulation import simulate_clients
from bench.scaling.sizing import Machines, Size, limits, size

TOLERANCE = 0.15
ROWS_A_DAY = (1e9, 10e9, 100e9)


class Comparison(NamedTuple):
    """A figure of a point as it was measured, and as it is simulated."""

    point: str
    figure: str
    measured: float
    simulated: float

    @property
    def error(self) -> float:
        """How far the simulated figure is off."""
        return self.simulated / self.measured - 1


def compare(measured: Mapping[str, Any], costs: Costs) -> Iterator[Comparison]:
    """Simulate the measured points, of which none was used for the costs.

    How long the disk took for a commit changes from run to run, on a shared one: it is that of the point itself.
    """
    for run in measured["runs"]:
        if run["is_cost"]:
            continue
        outcome = simulate_clients(
            costs, cores=measured["cores"], nodes=int(run["nodes"]), hot_shards=int(run["hot_shards"]),
            connections=int(run["connections"]), rows=int(run["batch_rows"]), sync_s=run["sync_s"],
        )  # fmt: skip
        rows = run["batches"] * run["batch_rows"]
        point = f"{int(run['nodes'])} nodes x {int(run['connections'])} connections"
        yield Comparison(point, "rows/s", rows / run["seconds"], outcome.rows_per_second)
        yield Comparison(point, "server us", run["server_s"] / rows * 1e6, outcome.server_us)
        yield Comparison(point, "nodes us", run["nodes_s"] / rows * 1e6, outcome.nodes_us)
        yield Comparison(point, "rows a flush", rows / run["flushes"], outcome.batches_per_flush * run["batch_rows"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the check, the sizes and the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path, default=MEASURED, help="a file of bench.scaling.measure")
    for name, kind in Machines.__annotations__.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Machines, name))
    options = vars(parser.parse_args(arguments))
    measured = read_measured(options.pop("measured"))
    costs, machines = fit(measured), Machines(**options)
    comparisons = list(compare(measured, costs))
    sys.stdout.write("\n".join([*_check_table(comparisons), ""]))
    off = [f"{each.point}, {each.figure}" for each in comparisons if abs(each.error) > TOLERANCE]
    sys.stdout.write(f"\nmore than {TOLERANCE:.0%} off: {'; '.join(off) or 'nothing'}\n")
    sizes = [size(costs, machines, rows_a_day) for rows_a_day in ROWS_A_DAY]
    sys.stdout.write("\n".join(["", *_size_table(sizes), "", *_limit_table(limits(costs, machines)), ""]))


def _check_table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    yield "| | | measured | simulated | error |"
    yield "|---|---|---|---|---|"
    for each in comparisons:
        figures = f"{_short(each.measured)} | {_short(each.simulated)} | {each.error:+.0%}"
        yield f"| {each.point} | {each.figure} | {figures} |"


def _size_table(sizes: Sequence[Size]) -> Iterator[str]:
    yield "| | " + " | ".join(f"{each.rows_a_day:,.0f} rows a day" for each in sizes) + " |"
    yield "|---" * (len(sizes) + 1) + "|"
    for name in Size.__annotations__:
        if name != "rows_a_day":
            yield f"| {name.replace('_', ' ')} | " + " | ".join(_short(getattr(each, name)) for each in sizes) + " |"


def _limit_table(found: Mapping[str, float]) -> Iterator[str]:
    yield "| carries at the most | rows a day |"
    yield "|---|---|"
    for part, rows in found.items():
        yield f"| {part} | {_short(rows / 1e9)} billion |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
