"""Replaces the worker processes one after the other while the server goes on."""

import logging
import os
import select
import time
from collections.abc import Callable

from server.processes.worker_slot import RETIRE, Slot

_logger = logging.getLogger(__name__)


class RollingRestart:
    """Starts a successor in each slot in turn, and retires the worker there once its successor serves.

    A successor that does not come up ends the rolling restart: the worker stays, and so do those of the other slots.
    """

    def __init__(
        self,
        slots: list[Slot],
        create_successor: Callable[[Slot], Slot],
        start: Callable[[Slot], None],
        *,
        ready_timeout_s: float,
        retire_timeout_s: float,
    ) -> None:
        """`slots` are the supervisor's, where successors take their places; `start` starts a process in a slot."""
        self._slots = slots
        self._create_successor = create_successor
        self._start = start
        self._ready_timeout_s = ready_timeout_s
        self._retire_timeout_s = retire_timeout_s
        self._waiting: list[Slot] = []
        self._replaced: Slot | None = None
        self._successor: Slot | None = None
        self._retired: Slot | None = None
        self._retired_at = 0.0

    @property
    def processes(self) -> list[Slot]:
        """The slots of processes that are not, or not any more, in the supervisor's slots."""
        return [slot for slot in (self._successor, self._retired) if slot is not None]

    def request(self) -> None:
        """Replace all workers, also those that have just been replaced."""
        _logger.info("rolling restart: the workers are replaced one after the other")
        self._waiting = list(self._slots)

    def advance(self) -> None:
        """Do what can be done now, without waiting."""
        if self._retired is not None:
            self._see_off(self._retired)
        elif self._replaced is not None and self._successor is not None:
            self._promote(self._replaced, self._successor)
        elif self._waiting:
            self._replaced = self._waiting.pop(0)
            self._successor = self._create_successor(self._replaced)
            self._start(self._successor)

    def _promote(self, replaced: Slot, successor: Slot) -> None:
        """Let a successor take the place of what it replaces as soon as it serves."""
        if not select.select([successor.ready_fd], [], [], 0)[0]:
            if time.monotonic() - successor.started_at > self._ready_timeout_s:
                self._give_up(successor, f"did not start within {self._ready_timeout_s:.0f} s")
        elif not os.read(successor.ready_fd, 1):
            self._give_up(successor, "ended while starting; its log is above")
        else:
            self._slots[self._slots.index(replaced)] = successor
            self._replaced = self._successor = None
            if replaced.process is not None:
                replaced.process.send_signal(RETIRE)
                self._retired, self._retired_at = replaced, time.monotonic()

    def _give_up(self, successor: Slot, reason: str) -> None:
        assert successor.process is not None  # noqa: S101 - it was started
        _logger.error("rolling restart ended: a new %s worker %s; the others stay", successor.module, reason)
        successor.process.kill()
        successor.process.wait()
        successor.release()
        successor.close()
        self._replaced = self._successor = None
        self._waiting.clear()

    def _see_off(self, retired: Slot) -> None:
        assert retired.process is not None  # noqa: S101 - it was running
        if retired.is_running:
            if time.monotonic() - self._retired_at < self._retire_timeout_s:
                return
            _logger.warning("worker %d did not finish in time and is killed", retired.process.pid)
            retired.process.kill()
            retired.process.wait()
        retired.release()
        retired.close()
        self._retired = None
        if not self._waiting:
            _logger.info("rolling restart: all workers are replaced")
