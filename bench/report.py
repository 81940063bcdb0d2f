"""What a benchmark measured, as tables for people and as one flat JSON object of named figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from bench.targets import Shape

_HEADINGS = (
    "", "rows x conn.", "requests/s", "rows/s", "of COPY", "of no-op", "p50 ms", "p99 ms",
    "server us/row", "Postgres", "later", "sum", "of floor", "generator, CPU",
)  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """One load. Latencies are in milliseconds, CPU times in microseconds a row; rates `of` something are fractions."""

    shape: Shape
    requests_per_second: float
    of_copy: float
    of_noop: float
    p50_ms: float
    p99_ms: float
    server_us: float
    postgres_us: float
    generator: str
    generator_cpu_share: float
    encoding: str

    @property
    def name(self) -> str:
        """The protocol, and the encoding where it is not what the server chooses."""
        return f"{self.shape.protocol} {self.encoding}".strip()

    @property
    def rows_per_second(self) -> float:
        """Rows acknowledged a second."""
        return self.requests_per_second * self.shape.batch_rows


@dataclass
class Report:
    """A run of `make bench`, section by section; CPU times are in microseconds a row."""

    copy_us: float
    decode_us: float
    later_us: float = 0.0
    measurements: list[Measurement] = field(default_factory=list)
    # Section -> name -> figure.
    sections: dict[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def floor_us(self) -> float:
        """What a row must cost at least: COPY into a table without indexes, and decoding JSON."""
        return self.copy_us + self.decode_us

    def figures(self) -> dict[str, float]:
        """Return all figures by name."""
        figures = {
            f"{item.name}, {item.shape.batch_rows} x {item.shape.connections}: {name}": value
            for item in self.measurements
            for name, value in self._figures_of(item).items()
        }
        return figures | {
            f"{section}: {name}": value
            for section, values in self._all_sections().items()
            for name, value in values.items()
        }

    def write_json(self, path: Path) -> None:
        """Write all figures to a file."""
        path.write_text(json.dumps(self.figures(), indent=2) + "\n")

    def print(self) -> None:
        """Print the tables."""
        console = Console(width=165)
        table = Table(
            title="Committed rows, acknowledged equal to stored; CPU in microseconds a row",
            box=box.SIMPLE_HEAD,
            title_justify="left",
            padding=(0, 1, 0, 0),
        )
        for heading in _HEADINGS:
            table.add_column(heading, justify="right" if heading else "left")
        for item in self.measurements:
            table.add_row(*self._cells(item))
        console.print(table)
        for section, values in self._all_sections().items():
            _print_pairs(console, section, values)

    def _all_sections(self) -> dict[str, Mapping[str, float]]:
        floor = {
            "COPY into a table without indexes": self.copy_us,
            "msgspec's decode": self.decode_us,
            "both": self.floor_us,
            "later work": self.later_us,
        }
        return {"CPU us a row": floor, **self.sections}

    def _figures_of(self, item: Measurement) -> dict[str, float]:
        return {
            "requests/s": item.requests_per_second,
            "rows/s": item.rows_per_second,
            "of COPY": item.of_copy,
            "of no-op": item.of_noop,
            "p50 ms": item.p50_ms,
            "p99 ms": item.p99_ms,
            "server us a row": item.server_us,
            "Postgres us a row": item.postgres_us,
            "Postgres us a row, with later work": item.postgres_us + self.later_us,
            "sum us a row": self._sum_us(item),
            "sum of floor": self._sum_us(item) / self.floor_us,
        }

    def _sum_us(self, item: Measurement) -> float:
        return item.server_us + item.postgres_us + self.later_us

    def _cells(self, item: Measurement) -> Sequence[str]:
        return (
            item.name,
            f"{item.shape.batch_rows} x {item.shape.connections}",
            f"{item.requests_per_second:,.0f}",
            f"{item.rows_per_second:,.0f}",
            f"{item.of_copy:.2f}",
            f"{item.of_noop:.2f}",
            f"{item.p50_ms:.1f}",
            f"{item.p99_ms:.1f}",
            f"{item.server_us:.2f}",
            f"{item.postgres_us:.2f}",
            f"{self.later_us:.2f}",
            f"{self._sum_us(item):.2f}",
            f"{self._sum_us(item) / self.floor_us:.1f}",
            f"{item.generator} {item.generator_cpu_share:.0%}",
        )


def _print_pairs(console: Console, title: str, values: Mapping[str, float]) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD, show_header=False, title_justify="left")
    for name, value in values.items():
        table.add_row(name, f"{value:,.0f}" if value >= 100 else f"{value:,.2f}")
    console.print(table)
