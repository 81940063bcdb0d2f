"""Waiting for what another process does: by polling, with a deadline."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.running_server import RunningServer

INTERVAL_S = 0.05


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Return once `condition` holds; the test fails when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        time.sleep(INTERVAL_S)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits for its parent to notice its end does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that run."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if is_alive(child)]


def live_workers(server: RunningServer, module: str) -> list[int]:
    """Return the running processes of a worker module, http_bridge or server.grpc_worker."""
    try:
        return [pid for pid in server.worker_pids(module) if is_alive(pid)]
    except (FileNotFoundError, ProcessLookupError):  # one ended while they were read
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
