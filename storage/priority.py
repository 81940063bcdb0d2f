"""Whoever sends waits for what writes; queries and rollups get the processors that writing leaves."""

import os
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from psycopg import AsyncConnection, Connection

# A third of the share that a process of ordinary priority gets where processors are scarce (sched(7)).
NICE = 5
# The kernel lets a group's priority be changed every 100 ms, unless root does it.
ATTEMPTS = 5
ATTEMPT_S = 0.1

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)


def give_way() -> None:
    """Lower the priority of this process."""
    os.nice(NICE)
    if sys.platform == "linux":
        with suppress(OSError):
            _lower_group(os.getpid())


def let_thread_give_way() -> None:
    """Lower the priority of this thread against those of the same session. On Linux each thread has its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def let_backend_give_way(connection: AsyncConnection | Connection) -> None:
    """Lower the priority of a connection's backend where this process may: that of an embedded Postgres, for example.

    A backend on another machine, or behind a pooler, stays as it is.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, ValueError, IndexError), socket.socket(fileno=os.dup(connection.fileno())) as peer:
        if peer.family == socket.AF_UNIX:
            credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            postmaster, *_ = _CREDENTIALS.unpack(credentials)
            backend = connection.info.backend_pid
            # In another container, the number of the backend may be that of any process here.
            if _parent(backend) == postmaster:
                os.setpriority(os.PRIO_PROCESS, backend, NICE)
                _lower_group(backend)


def _lower_group(pid: int) -> None:
    """Lower the priority of a process's scheduling group if it leads a session, as a backend does.

    Where there are such groups, the priority of a process counts within its session only (sched(7), "The autogroup
    feature").
    """
    if os.getsid(pid) != pid:
        return
    for _ in range(ATTEMPTS):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(NICE))
        except BlockingIOError:
            time.sleep(ATTEMPT_S)
        else:
            return


def _parent(pid: int) -> int:
    # proc_pid_stat(5): pid (name) state ppid ...
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
