"""Runs of `seestack-ingest` in processes of their own, forked from one that has imported it: that saves most of a
second of CPU each. Tests of the installed script itself, of terminals and of wrappers start the script.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, TypeAlias

from tests.patience import PATIENCE_S

_NUMBER_BYTES = 16
COMMAND = str(Path(sys.executable).with_name("seestack-ingest"))


class ForkedCommand:
    """A run of the command: the part of subprocess.Popen that tests use."""

    def __init__(self, pid: int, told: socket.socket) -> None:
        """`told` has the exit code once there is one."""
        self.pid = pid
        self.returncode: int | None = None
        self._told = told

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the process runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the process has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        code = self._look(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(COMMAND, timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, and its exit code is on the way
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = int(self._told.recv(_NUMBER_BYTES))
            self._told.close()
        return self.returncode


Process: TypeAlias = "ForkedCommand | subprocess.Popen[str]"


def start_command(
    *arguments: str,
    stdout: IO[str],
    stderr: IO[str],
    environment: Mapping[str, str] | None = None,
    new_session: bool = False,
) -> ForkedCommand:
    """Start `seestack-ingest` with these arguments, the environment of this process and what `environment` adds."""
    request = {
        "arguments": [COMMAND, *arguments],
        "environment": {**os.environ, **(environment or {})},
        "session": new_session,
    }
    told, telling = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with open(os.devnull) as stdin, telling:
        files = [each.fileno() for each in (stdin, stdout, stderr, telling)]
        socket.send_fds(_forking(), [json.dumps(request).encode()], files)
    return ForkedCommand(int(told.recv(_NUMBER_BYTES)), told)


def complete_command(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = PATIENCE_S
) -> "subprocess.CompletedProcess[str]":
    """Run `seestack-ingest` to its end, and return its exit code and what it wrote."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        running = start_command(*arguments, stdout=stdout, stderr=stderr, environment=environment)
        try:
            code = running.wait(timeout)
        finally:
            running.kill()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess([COMMAND, *arguments], code, stdout.read(), stderr.read())


@cache
def _forking() -> socket.socket:
    """Return a socket to the process that forks commands."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.forking", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours
