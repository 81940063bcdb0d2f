"""`python -m tests.forking CONTROL_FD`: imports the command line once, and forks a process for each run of it.

A request on the socket CONTROL_FD is JSON, {"arguments", "environment", "session"}, with four files: standard input,
output and error, and a socket that is told the process's id, and its exit code once it has ended.
"""

import gc
import json
import os
import signal
import socket
import sys
from typing import Any

import click

from server.cli import main as command

REQUEST_BYTES = 2**17
FILES = 4


def main() -> None:
    """Serve until the socket ends. In a forked process: run its command, and return as its script would."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who watch are not waited for
    while True:
        request, files, _, _ = socket.recv_fds(control, REQUEST_BYTES, FILES)
        if not request:
            return
        if os.fork() == 0:
            control.close()
            if _fork_and_watch(files):
                return
            _become(json.loads(request), files)
            sys.exit(command())
        for file in files:
            os.close(file)


def _import_all() -> None:
    context = click.Context(command)
    for name in command.list_commands(context):
        command.get_command(context, name)
    import server.processes.main_process  # noqa: F401


def _fork_and_watch(files: list[int]) -> bool:
    """Fork the process of a command; in its parent, return True once it has ended, which is told to who asked."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *inherited, told = files
    pid = os.fork()
    if pid == 0:
        os.close(told)
        return False
    for file in inherited:
        os.close(file)
    os.write(told, str(pid).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(told, str(code).encode())
    return True


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Make this process what running the script would have made it."""
    if request["session"]:
        os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    os.closerange(3, max(files) + 1)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]


if __name__ == "__main__":
    main()
