"""Starts `seestack-ingest serve` as a process and talks to it over real sockets."""

import http.client
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import psycopg
from psycopg.rows import dict_row

from storage.database import connect
from storage.keys import api_keys
from storage.keys.projects import create_project, find_project
from tests.commands import Process, complete_command, start_command
from tests.databases import prepare_database
from tests.log_lines import find_serving, port_in
from tests.patience import PATIENCE_S

INGEST_PATH = "/ingest/v1/http-requests"
# Each worker takes most of a second of a processor to start; tests that need more than one of a kind say so.
ONE_OF_EACH = ("--http-workers", "1", "--grpc-workers", "1")
TWO_OF_EACH = ("--http-workers", "2", "--grpc-workers", "2")
FREE_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
# Tests of queries ask for a process that answers them.
SERVE = ("serve", *FREE_PORTS, *ONE_OF_EACH, "--query-workers", "0")
START_TIMEOUT_S = 2 * PATIENCE_S  # it may wait for another server that starts
STOP_TIMEOUT_S = PATIENCE_S


@dataclass(frozen=True)
class Answer:
    """An HTTP response, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass
class RunningServer:
    """A server process, with a project and a raw key of it."""

    process: Process
    log: Path
    database_url: str
    http_port: int
    grpc_port: int
    project_id: str
    api_key: str
    channels: list[grpc.Channel] = field(default_factory=list)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one HTTP request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def post(self, body: object, **headers: str) -> Answer:
        """Send a batch as an SDK does; a body that is not bytes is sent as JSON. Header names take _ for -."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", "X-SeeStack-Key": self.api_key}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", INGEST_PATH, data, sent)

    def channel(self) -> grpc.Channel:
        """Return a channel to the gRPC side; it is closed with the server."""
        channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.channels.append(channel)
        return channel

    def rows(self, trace_id: str | None = None) -> list[dict[str, Any]]:
        """Return the stored rows, of one trace or all, oldest id first."""
        query = "SELECT * FROM http_requests WHERE %(trace)s::text IS NULL OR trace_id = %(trace)s ORDER BY id"
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(query, {"trace": trace_id}).fetchall()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the server to stop and return its exit code."""
        for channel in self.channels:
            channel.close()
        self.channels.clear()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)


@contextmanager
def start_server(database_url: str, *flags: str, key: tuple[str, str] | None = None) -> Iterator[RunningServer]:
    """Run a server on free ports against `database_url` and stop it at the end.

    It has one worker of each kind unless `flags` say otherwise, and a new project and key unless `key` names some
    (project id, raw key).
    """
    project_id, api_key = key or create_key(database_url)
    with tempfile.TemporaryDirectory(prefix="seestack-") as folder:
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = start_command(
                *SERVE, "--database-url", database_url, "--data-dir", folder, *flags, stdout=output, stderr=output
            )
        try:
            http_port, grpc_port = wait_for_ports(process, log)
            running = RunningServer(process, log, database_url, http_port, grpc_port, project_id, api_key)
            yield running
            running.stop()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def fail_to_start(database_url: str, *flags: str) -> str:
    """Return what a server prints that cannot be started."""
    done = complete_command("serve", "--database-url", database_url, *FREE_PORTS, *flags, timeout=START_TIMEOUT_S)
    assert done.returncode == 1
    return done.stderr


def wait_for_ports(process: Process, log: Path) -> tuple[int, int]:
    """Wait until the log says where the server listens, and return the ports of HTTP and gRPC."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if serving := find_serving(log.read_text()):
            return port_in(serving["http"]), port_in(serving["grpc"])
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


def create_key(
    database_url: str,
    project: str | None = None,
    lifetime: timedelta | None = None,
    scope: api_keys.Scope = api_keys.Scope.INGEST,
) -> tuple[str, str]:
    """Make a key, in a new project unless one is named, and return project id and raw key."""
    prepare_database(database_url)
    with connect(database_url) as connection:
        owner = (
            create_project(connection, f"project-{uuid4()}") if project is None else find_project(connection, project)
        )
        _, raw_key = api_keys.create_key(connection, owner.id, "test", lifetime, scope=scope)
    return str(owner.id), raw_key


def run_command(*arguments: str, database_url: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `seestack-ingest` with these arguments; raises CalledProcessError when it fails."""
    flags = ("--database-url", database_url) if database_url is not None else ()
    done = complete_command(*arguments, *flags)
    done.check_returncode()
    return done
