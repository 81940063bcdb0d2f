"""Output of commands: tables for people, JSON for scripts."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(rows: Sequence[Mapping[str, object]], *, empty: str) -> None:
    """Print rows of equal keys as a table; `empty` is printed when there are none."""
    if not rows:
        click.echo(empty)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(_for_people, row.values()))
    Console(width=None if Console().is_terminal else 250).print(table)


def _for_people(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list):
        return "\n".join(value)
    return str(value)
