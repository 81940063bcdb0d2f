"""Servers with the embedded Postgres, started in a data folder as a user starts them."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from server.access.credentials import read_credentials
from storage.embedded.cluster import cluster_path
from storage.embedded.server import EmbeddedServer
from tests.commands import COMMAND, Process, start_command
from tests.process.database import Database
from tests.process.polling import children_of
from tests.running_server import SERVE, STOP_TIMEOUT_S, RunningServer, wait_for_ports


@dataclass(frozen=True)
class Launched:
    """A server process that may not serve yet."""

    process: Process
    folder: Path
    log: Path

    def wait_until_it_serves(self) -> RunningServer:
        """Return the server once it serves, with the key of its credentials file."""
        ports = wait_for_ports(self.process, self.log)
        credentials = read_credentials(self.folder)
        assert credentials is not None
        assert credentials.api_key is not None
        url, project_id = EmbeddedServer(self.folder).url, credentials.project_id
        return RunningServer(self.process, self.log, url, *ports, project_id, credentials.api_key)


def new_folder(data_folder: Path) -> Path:
    """Return a path for a data folder; there is nothing yet."""
    return data_folder / f"data-{uuid4().hex[:8]}"


@contextmanager
def launch(folder: Path, *flags: str, wrapper: Sequence[str] = (), stdout: int | None = None) -> Iterator[Launched]:
    """Start `serve` in a session of its own, and leave nothing of it running at the end.

    It has free ports, and one worker of each kind unless `flags` say otherwise. `wrapper` is a command that runs it,
    and whose end is the end of all that it started. `stdout` is a terminal for the banner, if wanted.
    """
    log = folder.parent / f"log-{uuid4().hex[:8]}"
    with log.open("w") as output:
        arguments = (*SERVE, "--data-dir", str(folder), *flags)
        process: Process
        if wrapper or stdout is not None:
            process = subprocess.Popen(
                [*wrapper, COMMAND, *arguments],
                stdout=stdout or output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        else:
            process = start_command(*arguments, stdout=output, stderr=output, new_session=True)
    try:
        yield Launched(process, folder, log)
    finally:
        if wrapper:
            _kill(process)
        else:
            _stop(process)
            _stop_postgres(folder)
        _remove_socket_folder(folder)


@contextmanager
def serve_embedded(folder: Path, *flags: str, stdout: int | None = None) -> Iterator[RunningServer]:
    """Run a server in a data folder."""
    with launch(folder, *flags, stdout=stdout) as launched:
        yield launched.wait_until_it_serves()


def postmaster_pid(folder: Path) -> int | None:
    """Return the process of a data folder's Postgres; None when none is said to run."""
    try:
        return int((cluster_path(folder) / "postmaster.pid").read_text().split()[0])
    except FileNotFoundError:
        return None


def postgres_processes(folder: Path) -> list[int]:
    """Return all processes of a data folder's Postgres."""
    postmaster = postmaster_pid(folder)
    assert postmaster is not None
    return [postmaster, *children_of(postmaster)]


def _stop(process: Process) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        _kill(process)


def _stop_postgres(folder: Path) -> None:
    if postmaster_pid(folder) is not None:
        # The last one stops it, whichever left it running.
        with Database(folder):
            pass


def _remove_socket_folder(folder: Path) -> None:
    socket_folder = Path(EmbeddedServer(folder).url.partition("host=")[2])
    if not socket_folder.is_relative_to(folder):
        shutil.rmtree(socket_folder, ignore_errors=True)


def _kill(process: Process) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
