"""A Citus cluster of this machine, as processes: a coordinator and nodes, from an installation of Postgres with Citus.

By itself (`python -m tests.citus.cluster --help`) it runs one until it is stopped.
"""

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg

from tests.cli.ports import closed_port

VARIABLE = "CITUS"  # of the environment; names the `bin` folder of a Postgres that has Citus

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
shared_preload_libraries = 'citus'
wal_level = logical
max_connections = 300
max_prepared_transactions = 300
max_worker_processes = 64
max_wal_size = '4GB'
shared_buffers = '128MB'
timezone = 'UTC'
fsync = {fsync}
full_page_writes = {fsync}
citus.node_conninfo = 'sslmode=disable'
citus.shard_count = {shards}
"""


@dataclass
class Node:
    """A Postgres of the cluster, which may be up or not."""

    binaries: Path
    folder: Path
    port: int
    user: pwd.struct_passwd | None = field(default=None)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """The process id of its main process."""
        return int((self.folder / "postmaster.pid").read_text().split()[0])

    def create(self, *, fsync: bool, shards: int) -> None:
        """Make its cluster of databases."""
        self.folder.mkdir()
        if self.user is not None:
            shutil.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        with (self.folder / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(port=self.port, fsync="on" if fsync else "off", shards=shards))

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._run("pg_ctl", "start", "--wait", "--timeout=120", f"--log={self.folder / 'server.log'}")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}", "--timeout=120")

    def kill(self) -> None:
        """Kill all its processes by SIGKILL, as when its machine dies."""
        main_process = psutil.Process(self.pid)
        processes = [main_process, *main_process.children()]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)

    @property
    def is_up(self) -> bool:
        """Tell whether its main process is there."""
        return subprocess.run(
            [self.binaries / "pg_ctl", "status", f"--pgdata={self.folder}"],
            check=False, stdout=subprocess.DEVNULL, user=self.user and self.user.pw_uid,
        ).returncode == 0  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.binaries / program, f"--pgdata={self.folder}", *arguments],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=self.folder,
            user=self.user and self.user.pw_uid,
        )  # fmt: skip


@dataclass
class Cluster:
    """A running cluster: the coordinator first, and the nodes that its databases are distributed over."""

    binaries: Path
    folder: Path
    fsync: bool
    shards: int
    coordinator: Node = field(init=False)
    nodes: list[Node] = field(default_factory=list)
    _started: list[Node] = field(default_factory=list)  # also one whose start failed

    def start(self, nodes: int) -> None:
        """Start the coordinator and so many nodes."""
        self.coordinator = self._start_node("coordinator")
        for _ in range(nodes):
            self.nodes.append(self._start_node(f"node{len(self.nodes) + 1}"))

    def stop(self) -> None:
        """Stop what is up."""
        for node in self._started:
            if node.is_up:
                node.stop()

    def name_of(self, url: str) -> str:
        """Return the name of the database of a URL that `create_database` gave."""
        return url.rpartition("/")[2]

    def create_database(self, name: str | None = None) -> str:
        """Make an empty database with Citus on all nodes, and return its URL on the coordinator."""
        name = name or f"test_{uuid4().hex}"
        for node in (self.coordinator, *self.nodes):
            self._prepare(node, name)
        with psycopg.connect(self.coordinator.url(name), autocommit=True) as connection:
            connection.execute("SELECT citus_set_coordinator_host('127.0.0.1', %s)", (self.coordinator.port,))
            for node in self.nodes:
                connection.execute("SELECT citus_add_node('127.0.0.1', %s)", (node.port,))
            if not self.nodes:
                connection.execute("SELECT citus_set_node_property('127.0.0.1', %s, 'shouldhaveshards', true)",
                                   (self.coordinator.port,))  # fmt: skip
        return self.coordinator.url(name)

    def close_database(self, url: str) -> str:
        """Let nobody connect to a database any more, so that it can be copied, and return its name."""
        name = self.name_of(url)
        self._run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self._run(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'")
        return name

    def copy_database(self, template: str) -> str:
        """Copy a database that was closed, on all nodes, and return its URL on the coordinator."""
        name = f"test_{uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.coordinator.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database on all nodes, once Citus has no processes of its own in it any more."""
        self._run(f"DROP DATABASE {self.close_database(url)} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        for node in (self.coordinator, *self.nodes):
            with psycopg.connect(node.url(), autocommit=True) as connection:
                connection.execute(statement.encode())

    def add_node(self, database: str) -> Node:
        """Start a further node, and add it to a database."""
        node = self._start_node(f"node{len(self.nodes) + 1}")
        self._prepare(node, database)
        with psycopg.connect(self.coordinator.url(database), autocommit=True) as connection:
            connection.execute("SELECT citus_add_node('127.0.0.1', %s)", (node.port,))
        self.nodes.append(node)
        return node

    def _prepare(self, node: Node, database: str) -> None:
        with psycopg.connect(node.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        with psycopg.connect(node.url(database), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION citus")

    def _start_node(self, name: str) -> Node:
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        with closed_port() as port:
            node = Node(self.binaries, self.folder / name, port, user)
        node.create(fsync=self.fsync, shards=self.shards)
        self._started.append(node)
        node.start()
        return node


@contextmanager
def running_cluster(
    binaries: Path, *, nodes: int, fsync: bool = False, shards: int = 8, parent: Path | None = None
) -> Iterator[Cluster]:
    """Run a cluster in a new folder, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="seestack-citus-", dir=parent))
    folder.chmod(0o711)
    cluster = Cluster(binaries, folder, fsync, shards)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(cluster.stop)
        cluster.start(nodes)
        yield cluster


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a cluster with one database until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="Run a Citus cluster of this machine until it is stopped.")
    parser.add_argument("binaries", type=Path, help="the bin folder of a Postgres that has Citus")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--shards", type=int, default=32)
    options = parser.parse_args(arguments)
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with running_cluster(options.binaries, nodes=options.nodes, fsync=True, shards=options.shards) as cluster:
        print(cluster.create_database("seestack"), flush=True)  # noqa: T201 - what a script is to be told
        for node in cluster.nodes:
            print(node.url("seestack"), flush=True)  # noqa: T201
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
