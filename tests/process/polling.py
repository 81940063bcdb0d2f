"""Waiting for what another process does: by polling, with a deadline."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.running_server import RunningServer

INTERVAL_S = 0.05


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Return once `condition` holds; the test fails when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        time.sleep(INTERVAL_S)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits for its parent to notice its end does not."""
    return _parent_of(pid) is not None


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started, or adopted, and that run."""
    running = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in running if _parent_of(child) == pid]


def live_workers(server: RunningServer, module: str) -> list[int]:
    """Return the running processes of a worker module, http_bridge or server.grpc_worker."""
    return [pid for pid in children_of(server.process.pid) if module in command_of(pid)]


def command_of(pid: int) -> list[str]:
    """Return the words of a process's command line; none when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def kill(pids: Iterable[int]) -> None:
    """Kill processes as `kill -9` does and wait until they are gone."""
    killed = list(pids)
    for pid in killed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, killed)), "killed processes are gone")


def refuses_connections(port: int) -> bool:
    """Tell whether nothing listens on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def can_listen(port: int) -> bool:
    """Tell whether a new server could have a port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            return False
    return True


def _parent_of(pid: int) -> int | None:
    try:
        # proc(5): pid (name) state parent ...
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in ("Z", "X") else int(parent)
