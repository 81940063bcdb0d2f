"""A terminal for the standard output of a server, on which its banner can be read."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.patience import PATIENCE_S


@dataclass
class Terminal:
    """`descriptor` is what a process writes to."""

    descriptor: int
    other_end: int

    def read_lines(self, last: str) -> list[str]:
        """Return what was written, without blanks around it, up to a line that has `last` in it."""
        text = ""
        deadline = time.monotonic() + PATIENCE_S
        while last not in text.rpartition("\n")[0]:
            if not select.select([self.other_end], [], [], max(0.0, deadline - time.monotonic()))[0]:
                pytest.fail(f"no {last!r} on the terminal: {text!r}")
            text += os.read(self.other_end, 65_536).decode()
        return [line.strip() for line in text.splitlines()]


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Open a terminal, and close it at the end."""
    other_end, descriptor = os.openpty()
    try:
        yield Terminal(descriptor, other_end)
    finally:
        os.close(descriptor)
        os.close(other_end)
