"""A worker process as the supervisor sees it: started, and started again when it has ended."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from server.observability.metrics import clear_gauges, create_cells, map_cells

# One that ends sooner than this, or cannot be started, is started after a backoff, which doubles up to the longest.
HEALTHY_AFTER_S = 5.0
FIRST_BACKOFF_S = 0.25
LONGEST_BACKOFF_S = 10.0
# On top of the grace period, for what a worker does after its last request.
STOP_MARGIN_S = 12.0
NO_ROWS = -1  # the argument of a worker that hands over none

_logger = logging.getLogger(__name__)


class WorkerProcess:
    """One of the supervisor's workers: `python -m MODULE`, and its successors one after the other."""

    def __init__(
        self,
        kind: str,
        module: str,
        environment: Mapping[str, str],
        inherited: Sequence[int],
        *,
        open_rows: Callable[[], int] | None = None,
        has_session: bool = False,
    ) -> None:
        """`inherited` are the file descriptors that it gets as arguments, after those that each process has anew.

        `open_rows` makes one by which a process hands over rows that it has stored.
        With `has_session` it leads a session, so that it can lower its priority against all others.
        """
        self.kind = kind
        self._has_session = has_session
        self.module = module
        self._cells_fd = create_cells()
        self.cells = map_cells(self._cells_fd)  # where all its processes count
        self.starts = 0
        self.ready_fd = -1  # on which the present process reports that it serves
        self._environment = environment
        self._inherited = inherited
        self._open_rows = open_rows
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._backoff_s = FIRST_BACKOFF_S
        self._next_start_at = 0.0

    @property
    def pid(self) -> int | None:
        """The id of the process, None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Tell whether there is a process that has not ended."""
        return self._process is not None and self._process.poll() is None

    def keep_running(self) -> None:
        """Start a process when there is none and the backoff is over; log how the one before has ended."""
        if self._process is not None and self._process.poll() is not None:
            self._note_end(self._process)
        if self._process is None and time.monotonic() >= self._next_start_at:
            try:
                self._start()
            except OSError as error:  # no more processes, memory or files
                problem = error.strerror or error
                _logger.error("a %s worker cannot be started, retry in %g s: %s", self.module, self._backoff_s, problem)
                self._back_off()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process at once, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        """Raises OSError."""
        rows_fd = self._open_rows() if self._open_rows is not None else NO_ROWS
        try:
            self._start_with(rows_fd)
        finally:
            if rows_fd != NO_ROWS:
                os.close(rows_fd)

    def _start_with(self, rows_fd: int) -> None:
        ready_fd, ready_end = os.pipe()
        arguments = (ready_end, self._cells_fd, rows_fd, *self._inherited)
        # A worker handles SIGHUP once it can; it must not end by one that comes before.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", "server.processes.worker_start", self.module, *map(str, arguments)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[argument for argument in arguments if argument != NO_ROWS],
                # Ctrl-C goes to the terminal's whole process group; what it means is decided by the main process alone.
                process_group=None if self._has_session else 0,
                start_new_session=self._has_session,
            )
        except OSError:
            os.close(ready_fd)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(ready_end)
        self.ready_fd = ready_fd
        self.starts += 1
        self._started_at = time.monotonic()

    def _note_end(self, process: "subprocess.Popen[bytes]") -> None:
        # Exit code 0: the worker asked to be replaced.
        if process.returncode and time.monotonic() - self._started_at < HEALTHY_AFTER_S:
            self._back_off()
        else:
            self._backoff_s = FIRST_BACKOFF_S
        _logger.log(
            logging.ERROR if process.returncode else logging.INFO,
            "%s worker %d ended with exit code %s; starting another", self.module, process.pid, process.returncode,
        )  # fmt: skip
        clear_gauges(self.cells)
        os.close(self.ready_fd)
        self._process = None

    def _back_off(self) -> None:
        self._next_start_at = time.monotonic() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)
