"""A place for one worker process."""

import os
import subprocess
from dataclasses import dataclass, field

from server.observability.metrics import clear_gauges, create_cells, map_cells

FIRST_PAUSE_S = 0.25


@dataclass(slots=True, eq=False)
class Slot:
    """A place for one worker process, and what became of the processes that held it."""

    kind: str
    module: str
    arguments: tuple[int, ...]
    cells_fd: int = field(default_factory=create_cells)  # where its processes count, one after the other
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
        clear_gauges(map_cells(self.cells_fd))
        self.process = None
        os.close(self.ready_fd)
