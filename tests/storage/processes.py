"""The server processes of an embedded Postgres, seen from outside."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from storage.embedded.cluster import cluster_path
from tests.storage.waiting import wait_until

_LISTEN = "0A"
_ZOMBIE = "Z"


def socket_folder_of(url: str) -> Path:
    """Return the folder of the socket that a connection URL names."""
    return Path(str(conninfo_to_dict(url)["host"]))


def postmaster_pid(folder: Path) -> int:
    """Return the process id of the server of a data folder."""
    return int((cluster_path(folder) / "postmaster.pid").read_text().split()[0])


def is_stopped(folder: Path) -> bool:
    """Tell whether the server of a data folder was shut down in order."""
    return not (cluster_path(folder) / "postmaster.pid").exists()


def kill_server(folder: Path) -> int:
    """Kill the server of a data folder, wait until none of its processes runs, and return its process id."""
    pid = postmaster_pid(folder)
    processes = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(_runs, processes)))
    return pid


def kill_server_without_trace(folder: Path) -> None:
    """Do as `kill_server`, and wait until the system has forgotten the process."""
    pid = kill_server(folder)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def tcp_listeners(pid: int) -> set[str]:
    """Return the sockets by which a process accepts TCP connections."""
    opened = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            opened.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN:
                listening.add(f"socket:[{fields[9]}]")
    return opened & listening


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != _ZOMBIE
