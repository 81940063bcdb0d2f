"""Commands that work in many short transactions: patience with others, and a progress bar."""

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from server.cli.options import fail

PATIENCE_S = 30.0
PAUSE_S = 0.5

Result = TypeVar("Result")


def patiently(step: "Callable[[], Result]") -> "Result":
    """Return what a step returns; while others hold a lock that it needs, it is tried again. Exits after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return step()
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > deadline:
                fail("another transaction, maybe a backup, uses the table: run this again once it has ended")
            time.sleep(PAUSE_S)


def progress_bar(*, hidden: bool) -> Progress:
    """Return a progress bar, shown on terminals only."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=hidden or not console.is_terminal, transient=True,
    )  # fmt: skip
