"""What a benchmark measured, as a table for people and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_HEADINGS = (
    "", "rows a batch", "connections", "requests/s", "rows/s", "of COPY", "no-op requests/s", "of no-op", "p50 ms",
    "p99 ms", "p99.9 ms", "server us/row", "Postgres us/row", "generator CPU",
)  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """One run against one protocol. Latencies are in milliseconds, CPU times in microseconds a row."""

    protocol: str
    batch_rows: int
    connections: int
    requests_per_second: float
    rows_per_second: float
    copy_rows_per_second: float
    of_copy: float
    noop_requests_per_second: float
    of_noop: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    server_cpu_us: float
    postgres_cpu_us: float
    generator_cpu_share: float


@dataclass(frozen=True)
class Report:
    """A whole run of `make bench`."""

    processors: int
    measurements: Sequence[Measurement]
    latency: dict[str, float]
    curve: Sequence[dict[str, float]]
    memory_mib: dict[str, float]
    bytes_per_row: dict[str, float]

    def write_json(self, path: Path) -> None:
        """Write everything to a file."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def print(self) -> None:
        """Print the tables."""
        console = Console(width=170)
        copy_rate = median(item.copy_rows_per_second for item in self.measurements)
        _print_pairs(console, "Floor", {"raw COPY, one connection, 5,000 rows a COPY: rows/s": copy_rate})
        table = Table(title="Committed rows, acknowledged equal to stored", box=box.SIMPLE_HEAD, title_justify="left")
        for heading in _HEADINGS:
            table.add_column(heading, justify="left" if not heading else "right")
        for item in self.measurements:
            table.add_row(*_cells(item))
        console.print(table)
        _print_pairs(console, "Latency of a 100-row batch, ms", self.latency)
        _print_pairs(console, "Peak memory, MiB", self.memory_mib)
        _print_pairs(console, "On disk, bytes a row", self.bytes_per_row)


def _cells(item: Measurement) -> list[str]:
    return [
        item.protocol,
        str(item.batch_rows),
        str(item.connections),
        f"{item.requests_per_second:,.0f}",
        f"{item.rows_per_second:,.0f}",
        f"{item.of_copy:.2f}",
        f"{item.noop_requests_per_second:,.0f}",
        f"{item.of_noop:.2f}",
        f"{item.p50_ms:.1f}",
        f"{item.p99_ms:.1f}",
        f"{item.p999_ms:.1f}",
        f"{item.server_cpu_us:.1f}",
        f"{item.postgres_cpu_us:.1f}",
        f"{item.generator_cpu_share:.0%}",
    ]


def _print_pairs(console: Console, title: str, values: dict[str, Any]) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD, show_header=False, title_justify="left")
    for name, value in values.items():
        table.add_row(name, f"{value:,.0f}" if value >= 100 else f"{value:,.2f}")
    console.print(table)
