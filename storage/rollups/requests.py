"""How query processes ask for a pass: by a byte in a pipe to the process that keeps the rollups."""

import os
import select
from contextlib import suppress
from typing import Final

_ONE: Final = b"."
_SOME: Final = 4_096


class PassRequests:
    """The pipe, in the process that makes passes."""

    def __init__(self) -> None:
        self._asked_fd, self.ask_fd = os.pipe()  # others inherit `ask_fd`, and write there
        os.set_blocking(self._asked_fd, False)
        os.set_blocking(self.ask_fd, False)
        self._asked = select.poll()
        self._asked.register(self._asked_fd, select.POLLIN)

    @property
    def is_asked(self) -> bool:
        """Tell whether somebody has asked since `take`."""
        return bool(self._asked.poll(0))

    def wait(self, timeout_s: float) -> None:
        """Wait until somebody asks, or has asked, for at most so long."""
        self._asked.poll(timeout_s * 1000)

    def take(self) -> None:
        """Begin to do what was asked for: whoever asks from now on needs another pass."""
        with suppress(BlockingIOError):
            os.read(self._asked_fd, _SOME)


def ask_for_pass(ask_fd: int) -> None:
    """Ask, by the end of the pipe that was inherited. When it is full, enough have asked."""
    with suppress(BlockingIOError):
        os.write(ask_fd, _ONE)
