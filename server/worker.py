"""What every worker process has: settings from its environment, and the pipes that tie it to its supervisor."""

import gc
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import Self

from server.log import configure_logging
from server.service import IngestService
from server.settings import Settings, load_settings

GC_THRESHOLD = 50_000  # container objects made and not freed, between two looks at the youngest


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process, started by the supervisor as `python -m MODULE READY_FD LIFELINE_FD [LISTEN_FD]`.

    It writes a byte to READY_FD once it serves, and stops when LIFELINE_FD, which the supervisor holds open, ends.
    """

    settings: Settings
    ready_fd: int
    lifeline_fd: int
    listen_fd: int | None

    @classmethod
    def from_command_line(cls) -> Self:
        """Read the arguments and the environment; from here on the supervisor's end is this process's end."""
        configure_logging()
        # What is imported lives for ever, and requests leave no cycles behind: looking for garbage is mostly vain.
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        ready_fd, lifeline_fd, *listen_fd = map(int, sys.argv[1:])
        worker = cls(load_settings(), ready_fd, lifeline_fd, listen_fd[0] if listen_fd else None)
        threading.Thread(target=worker._follow_supervisor, name="lifeline", daemon=True).start()
        return worker

    def create_service(self, name: str) -> IngestService:
        """Return the service layer for this process; `name` shows in the database's list of connections."""
        url = self.settings.database_url
        assert url is not None  # noqa: S101 - the supervisor always passes one
        return IngestService(self.settings, database_url=url.get_secret_value(), name=name)

    def report_ready(self) -> None:
        """Tell the supervisor that requests are served from now on."""
        os.write(self.ready_fd, b".")
        os.close(self.ready_fd)

    def _follow_supervisor(self) -> None:
        os.read(self.lifeline_fd, 1)
        os.kill(os.getpid(), signal.SIGTERM)
