"""The processes under test: how they are started, and how much CPU and memory they use."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.targets import Target

COMMAND = Path(sys.executable).with_name("seestack-ingest")
START_TIMEOUT_S = 60


class ServerStartError(Exception):
    """The server ended, or does not serve after START_TIMEOUT_S; the message has its log."""


@dataclass(frozen=True)
class RunningServer:
    """A server with its embedded Postgres, on free ports of 127.0.0.1.

    `is_compiled` is whether its batches are encoded by compiled code.
    """

    process: psutil.Process
    postgres: psutil.Process
    database_url: str
    target: Target
    project_id: str
    is_compiled: bool
    workers: list[psutil.Process]


@contextmanager
def run_server(command: Path = COMMAND, settings: Mapping[str, str] = {}) -> Iterator[RunningServer]:
    """Run `seestack-ingest serve` with an empty data folder, free ports and else its default settings.

    `command` is the `seestack-ingest` of the server to run, `settings` are environment variables.
    """
    with tempfile.TemporaryDirectory(prefix="seestack-bench-") as folder:
        Path(folder).chmod(0o711)
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [command, "serve", "--data-dir", folder, "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"],
                stdout=output,
                stderr=output,
                env={**os.environ, **settings},
                cwd=folder,  # `python -m` of the workers would find the code of this checkout first
            )
        try:
            http_port, grpc_port = wait_for_ports(process, log)
            credentials = json.loads((Path(folder) / "credentials.json").read_text())
            cluster = next(Path(folder).glob("postgres-*"))
            yield RunningServer(
                psutil.Process(process.pid),
                psutil.Process(int((cluster / "postmaster.pid").read_text().split()[0])),
                f"postgresql://postgres@/postgres?host={cluster}",
                Target(("127.0.0.1", http_port), ("127.0.0.1", grpc_port), credentials["apiKey"]),
                credentials["projectId"],
                '"compiled": true' in log.read_text(),
                # Started with `-m`; the supervisor has short-lived children, too.
                [child for child in psutil.Process(process.pid).children() if "-m" in child.cmdline()],
            )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def wait_for_ports(process: "subprocess.Popen[bytes]", log: Path) -> tuple[int, int]:
    """Wait until the log says where the server listens; return the ports of HTTP and gRPC. Raises ServerStartError."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r'"serving", "http": "127\.0\.0\.1:(\d+)", "grpc": "127\.0\.0\.1:(\d+)"', log.read_text())
        if found:
            return int(found[1]), int(found[2])
        time.sleep(0.05)
    raise ServerStartError(f"the server did not start:\n{log.read_text()}")


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time that a process and its descendants, living and reaped, have used."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    times = process.cpu_times()
    return float(total + times.children_user + times.children_system)


class CpuMeter:
    """A context that adds up the CPU seconds of a server (workers and main process) and of its Postgres, apart."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self.server_seconds = 0.0
        self.postgres_seconds = 0.0

    def __enter__(self) -> "CpuMeter":
        self._add(-1)
        return self

    def __exit__(self, *_: object) -> None:
        self._add(1)

    def _add(self, sign: int) -> None:
        # Postgres detaches itself, so it is no descendant of the main process.
        self.server_seconds += sign * cpu_seconds(self._server.process)
        self.postgres_seconds += sign * cpu_seconds(self._server.postgres)


def peak_memory_bytes(process: psutil.Process) -> int:
    """Return the most resident memory that a process has had (Linux: VmHWM)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def processor_count() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))
