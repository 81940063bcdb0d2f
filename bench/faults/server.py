"""The server under test: started as a user starts it, on the same ports each time, and killed."""

import json
import os
import random
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from bench.faults.older_server import OlderServer
from bench.faults.postgres import is_alive, wait_until
from bench.processes import COMMAND, wait_for_ports

HOST = "127.0.0.1"
# Below the ports that the system gives to clients, so that no other program takes them while the server is down.
PORTS = range(20_000, 32_000)
STOP_TIMEOUT_S = 40


class Server:
    """`seestack-ingest serve` on a database, started on entry and stopped on exit."""

    def __init__(self, folder: Path, database_url: str, *flags: str) -> None:
        """Keep the spool in `folder`; the logs, one for each start, are written beside it."""
        self.http = (HOST, _free_port())
        self.grpc = (HOST, _free_port())
        self._folder = folder
        self._database_url = database_url
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._stop_if_it_runs()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_if_it_runs()

    def _stop_if_it_runs(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()

    def start(self, older: OlderServer | None = None) -> None:
        """Start it, or an older one in its place, and wait until it serves."""
        self._starts += 1
        log = self._folder.with_name(f"server-{self._starts}.log")
        command, environment = (older.command, older.environment) if older is not None else ([str(COMMAND)], {})
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [*command, "serve", "--database-url", self._database_url, "--data-dir", self._folder,
                 "--http-port", str(self.http[1]), "--grpc-port", str(self.grpc[1]), "--metrics-port", "0",
                 *self._flags],
                stdout=output, stderr=output, env=os.environ | environment,
            )  # fmt: skip
        wait_for_ports(self._process, log)

    def stop(self) -> int:
        """Stop it by SIGTERM and return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """Kill all its processes with SIGKILL, in any order."""
        assert self._process is not None
        processes = self.processes()
        for process in random.sample(processes, len(processes)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        wait_until(lambda: not any(map(is_alive, processes)), "the server is gone")

    def processes(self) -> list[psutil.Process]:
        """Return the supervisor and its workers."""
        assert self._process is not None
        return [psutil.Process(self._process.pid), *self.workers()]

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes that run."""
        assert self._process is not None
        return [child for child in psutil.Process(self._process.pid).children() if is_alive(child)]

    def spool_status(self) -> str:
        """Return what `seestack-ingest spool status` says: JSON, or why it failed."""
        done = subprocess.run(
            [COMMAND, "spool", "status", "--json", "--data-dir", self._folder],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stderr.strip() if done.returncode else done.stdout.strip()

    def is_spool_empty(self) -> bool:
        """Tell whether no batch is in the spool, as far as can be told."""
        try:
            return all(spool.get("batches") == 0 for spool in json.loads(self.spool_status()))
        except ValueError:
            return False


def _free_port() -> int:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while True:
        port = random.choice(PORTS)
        with socket.socket() as candidate:
            try:
                candidate.bind((HOST, port))
            except OSError:
                if time.monotonic() > deadline:
                    raise
            else:
                return port
