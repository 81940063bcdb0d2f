"""The life of an embedded Postgres: start, stop, and crashes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from storage.client_programs import client_program
from storage.database import connect
from storage.embedded.cluster import cluster_path
from storage.embedded.programs import BINARIES
from storage.embedded.server import EmbeddedServer
from storage.errors import StorageUnavailableError
from tests.storage.processes import is_stopped, kill_server_without_trace, postmaster_pid, tcp_listeners
from tests.storage.waiting import wait_until

# Uses the server of a folder until its standard input ends.
_USE_SERVER = """
import sys
from pathlib import Path
from storage.embedded.server import EmbeddedServer

with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
# Adopts its grandchildren and never asks how they ended, as does the first process of many containers.
_RESTART_WITHOUT_REAPING = """
import ctypes, os, sys
from pathlib import Path
from storage.embedded.server import EmbeddedServer
from storage.errors import EmbeddedServerError
from tests.storage.processes import kill_server

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
folder = Path(sys.argv[1])
with EmbeddedServer(folder) as server:
    kill_server(folder)
    try:
        assert server.ensure_running()
    except EmbeddedServerError as error:
        print(error, flush=True)
        os._exit(1)
"""


@pytest.fixture
def table() -> str:
    """The name of a table of this test's own."""
    return f"kept_{uuid4().hex}"


@contextmanager
def other_user(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that uses the server of a folder until it is told to leave."""
    with subprocess.Popen(
        [sys.executable, "-c", _USE_SERVER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql://")
        yield process


def leave(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0


def ask(url: str, query: str) -> Any:
    with connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def add_row(url: str, table: str) -> None:
    with connect(url) as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (number serial)")
        connection.execute(f"INSERT INTO {table} DEFAULT VALUES")


def test_it_runs_while_it_is_used_and_keeps_its_data(initialised_folder: Path, table: str) -> None:
    for times in (1, 2):
        with EmbeddedServer(initialised_folder) as server:
            add_row(server.url, table)
            assert ask(server.url, f"SELECT count(*) FROM {table}") == times
            assert not server.ensure_running()
        assert is_stopped(initialised_folder)
        with pytest.raises(StorageUnavailableError), connect(server.url):
            pass


def test_it_stops_while_clients_are_connected(initialised_folder: Path) -> None:
    with EmbeddedServer(initialised_folder) as server:
        client = psycopg.connect(server.url)
        client.execute("SELECT 1")
    assert is_stopped(initialised_folder)
    with pytest.raises(psycopg.OperationalError):
        client.execute("SELECT 1")
    client.close()


def test_only_the_owner_can_open_its_socket_and_its_data(postgres: EmbeddedServer, data_folder: Path) -> None:
    cluster = cluster_path(data_folder / "postgres")
    assert (cluster / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
    assert cluster.stat().st_mode & 0o777 == 0o700


def test_it_does_not_listen_on_tcp(postgres: EmbeddedServer, data_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert len(tcp_listeners(os.getpid())) >= 1
    assert tcp_listeners(postmaster_pid(data_folder / "postgres")) == set()
    assert ask(postgres.url, "SHOW listen_addresses") == ""


def test_commits_are_durable_and_times_are_utc(initialised_folder: Path) -> None:
    with EmbeddedServer(initialised_folder) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(server.url, f"SHOW {setting}") == "on"
        assert ask(server.url, "SHOW timezone") == "UTC"
        assert ask(server.url, "SHOW server_encoding") == "UTF8"


def test_its_psql_can_be_used(postgres: EmbeddedServer) -> None:
    done = subprocess.run(
        [client_program("psql"), postgres.url, "-At", "-c", "SELECT 6 * 7"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "42\n"


def test_it_goes_on_until_the_last_user_leaves(initialised_folder: Path) -> None:
    with ExitStack() as first:
        server = first.enter_context(EmbeddedServer(initialised_folder))
        pid = postmaster_pid(initialised_folder)
        with other_user(initialised_folder) as last:
            first.close()
            assert postmaster_pid(initialised_folder) == pid
            assert ask(server.url, "SELECT 1") == 1
            leave(last)
    assert is_stopped(initialised_folder)


def test_a_user_that_leaves_first_does_not_stop_it(initialised_folder: Path) -> None:
    with EmbeddedServer(initialised_folder) as server:
        with other_user(initialised_folder) as other:
            leave(other)
        assert ask(server.url, "SELECT 1") == 1
    assert is_stopped(initialised_folder)


def test_a_killed_user_leaves_the_server_to_the_next_one(initialised_folder: Path) -> None:
    with other_user(initialised_folder) as first:
        pid = postmaster_pid(initialised_folder)
        first.kill()
        first.wait()
    with EmbeddedServer(initialised_folder) as server:
        assert postmaster_pid(initialised_folder) == pid
        assert ask(server.url, "SELECT 1") == 1
    assert is_stopped(initialised_folder)


def test_a_killed_server_is_started_again_with_its_committed_rows(initialised_folder: Path, table: str) -> None:
    with EmbeddedServer(initialised_folder) as server:
        for _ in range(5):
            add_row(server.url, table)
        kill_server_without_trace(initialised_folder)
        assert server.ensure_running()
        assert ask(server.url, f"SELECT count(*) FROM {table}") == 5
        assert not server.ensure_running()
    assert is_stopped(initialised_folder)


def test_a_server_killed_with_its_user_is_recovered_by_the_next_one(initialised_folder: Path, table: str) -> None:
    with other_user(initialised_folder) as first:
        with EmbeddedServer(initialised_folder) as server:
            add_row(server.url, table)
        first.kill()
        first.wait()
        kill_server_without_trace(initialised_folder)
    with EmbeddedServer(initialised_folder) as server:
        assert ask(server.url, f"SELECT count(*) FROM {table}") == 1


def test_a_killed_server_is_started_again_even_if_nobody_reaps_it(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RESTART_WITHOUT_REAPING, folder],
        capture_output=True, text=True, check=False, timeout=60, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_leaving_a_server_that_was_stopped_already_is_no_error(initialised_folder: Path) -> None:
    with EmbeddedServer(initialised_folder):
        os.kill(postmaster_pid(initialised_folder), signal.SIGINT)
        wait_until(lambda: is_stopped(initialised_folder))


@contextmanager
def endless_writer(folder: Path) -> Iterator[None]:
    """Add files to a folder for as long as it exists, as an initdb does that nobody stopped."""
    opened, stopped = os.open(folder, os.O_RDONLY | os.O_DIRECTORY), Event()

    def write() -> None:
        with suppress(FileNotFoundError):
            while not stopped.is_set():
                os.close(os.open(uuid4().hex, os.O_CREAT | os.O_WRONLY, dir_fd=opened))

    thread = Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        os.close(opened)


def cut_off_first_start(folder: Path, number: signal.Signals) -> Path:
    """Start a server for the first time, stop that with a signal, and return the folder it was at work in."""
    with subprocess.Popen(
        [sys.executable, "-c", _USE_SERVER, folder],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as first:  # fmt: skip
        wait_until(lambda: any(folder.glob("*/PG_VERSION")))
        first.send_signal(number)
        first.wait(60)
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_first_start_that_was_cut_off_does_not_spoil_the_next_one(folder: Path, number: signal.Signals) -> None:
    cut_off_first_start(folder, number)
    with EmbeddedServer(folder) as server:
        assert ask(server.url, "SELECT 1") == 1
        assert tcp_listeners(postmaster_pid(folder)) == set()


def test_what_still_runs_of_a_first_start_that_was_cut_off_does_not_spoil_the_next_one(folder: Path) -> None:
    leftover = cut_off_first_start(folder, signal.SIGKILL)
    with endless_writer(leftover), EmbeddedServer(folder) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_the_binaries_are_those_of_the_wheel() -> None:
    assert {"postgres", "initdb", "pg_ctl", "psql"} <= {path.name for path in BINARIES.iterdir()}
