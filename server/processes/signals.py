"""The signals of the `serve` process, as flags."""

import os
import signal
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Self

_STANDARD_INPUT = 0


class Flag:
    """As threading.Event, without its lock: the thread that a signal interrupts may be the one that holds it."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it."""
        self._is_set = True

    def clear(self) -> None:
        """Clear it."""
        self._is_set = False

    def wait(self, timeout_s: float) -> bool:
        """Return whether it is set, at once if so, and else after `timeout_s`."""
        if not self._is_set:
            time.sleep(timeout_s)
        return self._is_set


@dataclass(frozen=True, slots=True)
class Signals:
    """The first SIGTERM or Ctrl-C asks to stop, the second one to stop at once. SIGHUP asks to reload.

    SIGHUP because the terminal was closed asks to stop.
    """

    stop: Flag = field(default_factory=Flag)
    stop_at_once: Flag = field(default_factory=Flag)
    reload: Flag = field(default_factory=Flag)
    has_terminal: bool = field(default_factory=lambda: os.isatty(_STANDARD_INPUT))

    @classmethod
    def install(cls) -> Self:
        """Handle the signals from now on, for the rest of the process's life."""
        signals = cls()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signals._handle_stop)
        signal.signal(signal.SIGHUP, signals._handle_hangup)
        return signals

    def ignore_hangup(self) -> None:
        """Ignore SIGHUP: while the interpreter ends, a handler would be replaced by the default, which kills."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _handle_stop(self, number: int, frame: FrameType | None) -> None:
        (self.stop_at_once if self.stop.is_set() else self.stop).set()

    def _handle_hangup(self, number: int, frame: FrameType | None) -> None:
        is_terminal_closed = self.has_terminal and not os.isatty(_STANDARD_INPUT)
        (self.stop if is_terminal_closed else self.reload).set()
