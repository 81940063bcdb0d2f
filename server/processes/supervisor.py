"""Starts the worker processes, keeps them running, and stops them."""

import logging
import os
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

from server.access.token_buckets import create_buckets_file
from server.observability.metrics import Cells
from server.processes.signals import Flag
from server.processes.worker_process import STOP_MARGIN_S, WorkerProcess
from server.query.relay.channel import create_channel
from server.settings import Settings

# Workers are started by their module's name: this package does not import the bridge.
HTTP_MODULE = "http_bridge"
GRPC_MODULE = "server.grpc.worker"
QUERY_MODULE = "http_bridge.query_worker"

READY_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.1

_logger = logging.getLogger(__name__)

WORKER_ENVIRONMENT = {
    # glibc gives large blocks back to the system at once, and keeps to few arenas, so that a worker is as small after
    # a flood as before it.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "4194304",
}


class WorkerStartError(Exception):
    """A worker did not start when the server was started."""


class Supervisor:
    """Runs `http_workers`, `grpc_workers` and `query_workers` processes with the given settings until told to stop."""

    def __init__(
        self,
        settings: Settings,
        http_listener: socket.socket,
        *,
        ask_fd: int | None = None,
        open_rows: Callable[[], int] | None = None,
        http_module: str = HTTP_MODULE,
        grpc_module: str = GRPC_MODULE,
    ) -> None:
        """Take settings with a database URL and real ports; `http_listener` is what HTTP workers accept from.

        By `ask_fd` query processes ask for a pass of the rollups, if there is anybody who makes one. `open_rows`
        returns what a new process hands over rows by that it has stored.
        """
        self._grace_s = settings.grace_seconds
        self._has_tls = settings.tls_cert is not None
        self._http_listener = http_listener
        environment = {**WORKER_ENVIRONMENT, **os.environ, **settings.to_environment()}
        # Workers stop when this pipe closes, as it does when this process dies, however it dies.
        lifeline, self._lifeline_end = os.pipe()
        self.buckets_file = create_buckets_file()
        shared = (lifeline, self.buckets_file)
        # Both ends are kept open, so that queries wait while a query process is started again.
        front_end, query_end = create_channel()
        front = (*shared, front_end)
        query = (*shared, query_end) if ask_fd is None else (*shared, query_end, ask_fd)
        self._workers = [
            *(
                WorkerProcess("http", http_module, environment, (*front, http_listener.fileno()), open_rows=open_rows)
                for _ in range(settings.http_workers)
            ),
            *(
                WorkerProcess("grpc", grpc_module, environment, front, open_rows=open_rows)
                for _ in range(settings.grpc_workers)
            ),
            *(
                WorkerProcess("query", QUERY_MODULE, environment, query, has_session=True)
                for _ in range(settings.query_workers)
            ),
        ]

    @property
    def cells(self) -> Sequence[Cells]:
        """What all workers counted."""
        return [worker.cells for worker in self._workers]

    @property
    def restarts(self) -> Counter[str]:
        """How often workers were started again, by their kind, "http", "grpc" or "query"."""
        restarts: Counter[str] = Counter()
        for worker in self._workers:
            restarts[worker.kind] += max(0, worker.starts - 1)
        return restarts

    def live_workers(self, kind: str) -> int:
        """Return how many processes of a kind run."""
        return sum(worker.kind == kind and worker.pid is not None for worker in self._workers)

    def start(self, stop: Flag) -> None:
        """Start all workers, and wait until they serve or `stop` is set.

        A worker for which the system has no resources is tried again. Raises WorkerStartError when a worker ends, or
        does not serve in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        starting = list(self._workers)
        try:
            while starting and not stop.is_set():
                if time.monotonic() > deadline:
                    raise WorkerStartError(f"workers did not start within {READY_TIMEOUT_S:.0f} s")
                for worker in starting:
                    if worker.pid is None:
                        worker.keep_running()
                started = {worker.ready_fd: worker for worker in starting if worker.pid is not None}
                for ready_fd in select.select(list(started), [], [], POLL_INTERVAL_S)[0]:
                    worker = started[ready_fd]
                    if not os.read(ready_fd, 1):
                        raise WorkerStartError(f"a {worker.module} worker ended while starting; its log is above")
                    starting.remove(worker)
        except WorkerStartError:
            for worker in self._workers:
                worker.kill()
            raise

    def watch(self, stop: Flag, reload: Flag) -> None:
        """Start workers again that end, until `stop` is set; have them reload whenever `reload` is set."""
        while not stop.wait(POLL_INTERVAL_S):
            for worker in self._workers:
                worker.keep_running()
            if reload.is_set():
                reload.clear()
                self._reload()

    def stop(self, at_once: Flag) -> None:
        """Let all workers finish what is in flight; kill those that outlast the grace period, or `at_once`."""
        self._http_listener.close()
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s + STOP_MARGIN_S
        while self._running() and time.monotonic() < deadline and not at_once.wait(POLL_INTERVAL_S / 2):
            pass
        for worker in self._running():
            _logger.warning("worker %d did not finish in time and is killed", worker.pid)
            worker.kill()

    def _reload(self) -> None:
        if self._has_tls:
            for worker in self._workers:
                worker.send_signal(signal.SIGHUP)
            _logger.info("SIGHUP: the workers read the TLS files again; changed settings need a restart")
        else:
            _logger.info("SIGHUP: nothing to reload without TLS; changed settings need a restart")

    def _running(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.is_running]
