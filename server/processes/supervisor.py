"""Starts the worker processes, starts them again when they die, and stops them."""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from server.access.token_buckets import create_buckets_file
from server.observability.metrics import Cells, map_cells
from server.processes.signals import Flag
from server.processes.worker_slot import FIRST_PAUSE_S, Slot
from server.settings import Settings

# Worker processes are told apart by name only: this package does not import the bridge.
HTTP_MODULE = "http_bridge"
GRPC_MODULE = "server.grpc.worker"

READY_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.1
# A worker that lived shorter than this is started again after a pause, which doubles up to the longest.
HEALTHY_AFTER_S = 5.0
LONGEST_PAUSE_S = 10.0
# On top of the grace period, for what a worker does after its last request.
STOP_MARGIN_S = 12.0

_logger = logging.getLogger(__name__)


class WorkerStartError(Exception):
    """A worker did not come up when the server was started."""


class Supervisor:
    """Runs `http_workers` and `grpc_workers` processes with the given settings until told to stop."""

    def __init__(
        self,
        settings: Settings,
        http_listener: socket.socket,
        *,
        http_module: str = HTTP_MODULE,
        grpc_module: str = GRPC_MODULE,
    ) -> None:
        """Take settings with a database URL and real ports; `http_listener` is what HTTP workers accept from."""
        self._grace_s = settings.grace_seconds
        self._reloadable = (
            "nothing to reload" if settings.tls_cert is None else "TLS files are read again whenever they change"
        )
        # What gRPC itself logs are mistakes of clients, and that a worker has stopped to listen.
        self._environment = {"GRPC_VERBOSITY": "NONE", **os.environ, **settings.to_environment()}
        self._http_listener = http_listener
        # Workers stop when this pipe closes, as it does when this process dies, however it dies.
        self._lifeline, self._lifeline_end = os.pipe()
        self._buckets = create_buckets_file()
        self.cells: list[Cells] = []  # in which workers count, also those that are no more
        self._slots = [
            self._create_slot("http", http_module, http_listener.fileno()) for _ in range(settings.http_workers)
        ]
        self._slots += [self._create_slot("grpc", grpc_module) for _ in range(settings.grpc_workers)]
        # How often a worker that died was started again, by its kind.
        self.restarts = dict.fromkeys((slot.kind for slot in self._slots), 0)

    def start(self) -> None:
        """Start all workers and wait until they serve. Raises WorkerStartError when one does not."""
        for slot in self._slots:
            self._start(slot)
        starting = {slot.ready_fd: slot for slot in self._slots}
        deadline = time.monotonic() + READY_TIMEOUT_S
        try:
            while starting:
                readable, _, _ = select.select(list(starting), [], [], max(0.0, deadline - time.monotonic()))
                if not readable:
                    raise WorkerStartError(f"workers did not start within {READY_TIMEOUT_S:.0f} s")
                for ready_fd in readable:
                    slot = starting.pop(ready_fd)
                    if not os.read(ready_fd, 1):
                        raise WorkerStartError(f"a {slot.module} worker ended while starting; its log is above")
        except WorkerStartError:
            self._signal(signal.SIGKILL)
            raise

    def watch(self, stop: Flag, reload: Flag) -> None:
        """Start workers that die again, until `stop` is set; say whenever `reload` is set what that does."""
        while not stop.wait(POLL_INTERVAL_S):
            for slot in self._slots:
                if slot.process is not None and slot.process.poll() is not None:
                    self._bury(slot)
                if slot.process is None and time.monotonic() >= slot.next_start_at:
                    self._start(slot)
                    self.restarts[slot.kind] += 1
            if reload.is_set():
                reload.clear()
                _logger.info("SIGHUP: %s; other settings need a restart", self._reloadable)

    def live_workers(self, kind: str) -> int:
        """Return how many processes of a kind run, "http" or "grpc"."""
        return sum(slot.kind == kind and slot.process is not None for slot in self._slots)

    def stop(self, at_once: Flag) -> None:
        """Let all workers finish what is in flight; kill those that outlast the grace period, or `at_once`."""
        self._http_listener.close()
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s + STOP_MARGIN_S
        while self._running() and time.monotonic() < deadline and not at_once.wait(POLL_INTERVAL_S / 2):
            pass
        for process in self._running():
            _logger.warning("worker %d did not finish in time and is killed", process.pid)
            process.kill()
            process.wait()

    def _create_slot(self, kind: str, module: str, *arguments: int) -> Slot:
        slot = Slot(kind, module, arguments)
        self.cells.append(map_cells(slot.cells_fd))
        return slot

    def _start(self, slot: Slot) -> None:
        slot.ready_fd, ready_fd = os.pipe()
        slot.started_at = time.monotonic()
        inherited = (ready_fd, self._lifeline, slot.cells_fd, self._buckets, *slot.arguments)
        slot.process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", slot.module, *map(str, inherited)],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            pass_fds=inherited,
            # Ctrl-C goes to the terminal's whole process group; what it means is decided by this process alone.
            process_group=0,
        )
        os.close(ready_fd)

    def _bury(self, slot: Slot) -> None:
        assert slot.process is not None  # noqa: S101 - called for slots with a process
        now = time.monotonic()
        # One that ends in good order has asked to be replaced.
        is_early = bool(slot.process.returncode) and now - slot.started_at < HEALTHY_AFTER_S
        slot.pause_s = min(slot.pause_s * 2, LONGEST_PAUSE_S) if is_early else FIRST_PAUSE_S
        slot.next_start_at = now + slot.pause_s if is_early else now
        level = logging.ERROR if slot.process.returncode else logging.INFO
        _logger.log(
            level,
            "%s worker %d ended with %s and is started again",
            slot.module, slot.process.pid, slot.process.returncode,
        )  # fmt: skip
        slot.release()

    def _running(self) -> "Sequence[subprocess.Popen[bytes]]":
        return [slot.process for slot in self._slots if slot.process is not None and slot.is_running]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running():
            process.send_signal(number)
