"""A Postgres that can be stopped, killed, hung and started again."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg

from storage.embedded.cluster import cluster_path
from storage.embedded.server import EmbeddedServer

CHANGED_WITHIN_S = 60.0
POLL_INTERVAL_S = 0.05


class Postgres:
    """A Postgres in a folder of its own, started on entry."""

    def __init__(self, folder: Path) -> None:
        self._embedded = EmbeddedServer(folder)
        self._pid_file = cluster_path(folder) / "postmaster.pid"
        self.url = self._embedded.url

    def __enter__(self) -> Self:
        self._embedded.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        self._embedded.__exit__(kind, error, trace)

    def connect(self) -> psycopg.Connection:
        """Return an autocommit connection that may write whatever the database's defaults are."""
        return psycopg.connect(
            self.url, autocommit=True, application_name="faults", options="-c default_transaction_read_only=off"
        )

    def start(self) -> None:
        """Start it if it does not run, and wait until it takes connections."""

        def takes_connections() -> bool:
            self._embedded.ensure_running()
            with suppress(psycopg.OperationalError), self.connect():
                return True
            return False

        wait_until(takes_connections, "Postgres takes connections")

    def stop(self) -> None:
        """Stop it as `pg_ctl stop --mode=fast` does: open transactions are rolled back."""
        self._end(signal.SIGINT, self.processes()[:1])

    def kill(self) -> None:
        """Kill every process of it, as a loss of power would."""
        _signal(signal.SIGSTOP, self.processes()[:1])  # the postmaster starts no more of them
        self._end(signal.SIGKILL, self.processes())

    def suspend(self) -> None:
        """Hang every process of it: connections stay open, and nothing answers."""
        # The postmaster first, so that it starts no more of them.
        _signal(signal.SIGSTOP, self.processes())

    def resume(self) -> None:
        """Let every process of it go on."""
        _signal(signal.SIGCONT, self.processes())

    def processes(self) -> list[psutil.Process]:
        """Return the postmaster and then all other processes; none when it does not run."""
        try:
            postmaster = psutil.Process(int(self._pid_file.read_text().split()[0]))
            return [postmaster, *postmaster.children(recursive=True)]
        except (FileNotFoundError, psutil.NoSuchProcess):
            return []

    def _end(self, number: signal.Signals, signalled: list[psutil.Process]) -> None:
        everything = self.processes()
        _signal(number, signalled)
        wait_until(lambda: not any(map(is_alive, everything)), "Postgres is gone")


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that only waits for its parent to notice its end does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return once `condition` holds; raises TimeoutError."""
    deadline = time.monotonic() + CHANGED_WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {CHANGED_WITHIN_S:g} s")
        time.sleep(POLL_INTERVAL_S)


def _signal(number: signal.Signals, processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
