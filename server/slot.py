"""A place for one worker process."""

import os
import signal
import subprocess
from dataclasses import dataclass, field

# Asks a worker whose successor serves to see its clients off, and to stop then.
RETIRE = signal.SIGUSR1
FIRST_PAUSE_S = 0.25


@dataclass(slots=True, eq=False)
class Slot:
    """A place for one worker process, and what became of the processes that held it."""

    module: str
    arguments: tuple[int, ...]
    process: "subprocess.Popen[bytes] | None" = None
    ready_fd: int = -1  # where the process tells that it serves
    started_at: float = 0.0
    pause_s: float = field(default=FIRST_PAUSE_S)
    next_start_at: float = 0.0

    @property
    def is_running(self) -> bool:
        """Tell whether it holds a process that has not ended."""
        return self.process is not None and self.process.poll() is None

    def release(self) -> None:
        """Forget a process that has ended."""
        self.process = None
        os.close(self.ready_fd)
