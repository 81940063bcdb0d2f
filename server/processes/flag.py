"""A flag that signal handlers set."""

import time


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
        """Take it back."""
        self._is_set = False

    def wait(self, timeout_s: float) -> bool:
        """Return whether it is set, at once if so, and else after `timeout_s`."""
        if not self._is_set:
            time.sleep(timeout_s)
        return self._is_set
