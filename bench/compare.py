"""`python -m bench.compare BEFORE.json... -- AFTER.json...`: medians of several runs each, and their ratio."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table


def main(arguments: Sequence[str]) -> None:
    """Print every figure that both sides have."""
    if arguments.count("--") != 1 or arguments[0] == "--" or arguments[-1] == "--":
        sys.exit(__doc__)
    split = arguments.index("--")
    before, after = medians(arguments[:split]), medians(arguments[split + 1 :])
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("median of the runs")
    for heading in ("before", "after", "after : before"):
        table.add_column(heading, justify="right")
    for name, value in before.items():
        if name in after:
            ratio = f"{after[name] / value:.2f}" if value else ""
            table.add_row(name, _cell(value), _cell(after[name]), ratio)
    Console(width=120).print(table)


def medians(paths: Sequence[str]) -> Mapping[str, float]:
    """Return the median of each figure that all of these files have."""
    runs: list[dict[str, float]] = [json.loads(Path(path).read_text()) for path in paths]
    return {name: median(run[name] for run in runs) for name in runs[0] if all(name in run for run in runs)}


def _cell(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


if __name__ == "__main__":
    main(sys.argv[1:])
