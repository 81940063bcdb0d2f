"""Output of commands: tables for people, JSON for scripts."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

FEW_COLUMNS = 3  # whose values are better folded than set apart from the other rows
UNBOUNDED = 10_000  # columns of a terminal

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(rows: Sequence[Mapping[str, object]], *, empty: str) -> None:
    """Print rows of equal keys as a table; `empty` is printed when there are none."""
    if not rows:
        click.echo(empty)
        return
    shown = [{name: _for_people(value) for name, value in row.items()} for row in rows]
    console = Console(width=None if Console().is_terminal else 250)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in shown[0]:
        table.add_column(name, overflow="fold")
    for row in shown:
        table.add_row(*row.values())
    wanted = console.measure(table, options=console.options.update(max_width=UNBOUNDED)).maximum
    if len(shown[0]) > FEW_COLUMNS and wanted > console.width:
        _print_one_below_the_other(console, shown)
    else:
        console.print(table)


def _print_one_below_the_other(console: Console, rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows that would be too wide for the terminal, each as lines of its names and values."""
    for row in rows:
        lines = Table(box=None, show_header=False, pad_edge=False)
        lines.add_column(style="bold", no_wrap=True)
        lines.add_column(overflow="fold")
        for line in row.items():
            lines.add_row(*line)
        console.print(lines)
        console.print()


def _for_people(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list):
        return "\n".join(value)
    return str(value)
