"""`seestack-ingest top`."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from server.cli.harmless import dump_json
from server.cli.output import json_flag
from server.cli.query_client import QueryClient, QueryError, with_query_client
from server.cli.query_options import last_option, with_filters
from server.cli.top_table import SORTS, read_frame, render

PLAIN_WIDTH = 160
_LINES_AROUND = 6  # of the terminal, beside rows of the table
_KEYS = "q ends; f, r, t sort by failed, requests, time"


@click.command()
@last_option("60s")
@click.option("--sort", type=click.Choice(SORTS), default="requests", show_default=True, help="Order, largest first.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3_600), default=2.0, show_default=True, help="Seconds between updates."
)
@with_filters
@json_flag
@with_query_client
def top(
    client: QueryClient, last: timedelta, sort: str, interval: float, filters: dict[str, Any], *, as_json: bool
) -> None:
    """Show the endpoints of the last while, live: requests a second, failures, percentiles in ms.

    q or Ctrl-C ends it; f, r and t sort by failed, requests and time. Without a terminal it prints once.
    """
    frame = read_frame(client, last, filters, sort)
    console = Console(highlight=False)
    if as_json:
        click.echo(dump_json(frame.to_json(), indent=2))
    elif not console.is_terminal:
        Console(width=PLAIN_WIDTH, highlight=False).print(render(frame, PLAIN_WIDTH, len(frame.endpoints)))
    else:
        note = _KEYS
        try:
            with _keyboard() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
                while True:
                    live.update(render(frame, console.width, console.height - _LINES_AROUND, note), refresh=True)
                    key = _wait_for_key(keyboard, interval)
                    if key == "q":
                        return
                    sort = next((each for each in SORTS if each[0] == key), sort)
                    try:
                        frame, note = read_frame(client, last, filters, sort), _KEYS
                    except QueryError as error:
                        note = f"{error}; trying again"
        except KeyboardInterrupt:
            pass


@contextmanager
def _keyboard() -> Iterator[int | None]:
    """Give single keys as they are pressed; None when standard input is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _wait_for_key(keyboard: int | None, timeout_s: float) -> str:
    """Return the next key, "" when none is pressed in time or it is none of a letter."""
    if keyboard is None:
        time.sleep(timeout_s)
        return ""
    if not select.select([keyboard], [], [], timeout_s)[0]:
        return ""
    pressed = os.read(keyboard, 64)
    return pressed.decode("ascii", "replace")[:1] if pressed else "q"
