"""What is measured on: a server in front of a cluster, how it is loaded, and what CPU each part of it used."""

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from bench.data import Batches, make_batches
from bench.processes import COMMAND, cpu_seconds, wait_for_ports
from bench.targets import INGEST_PATH, Target
from server.database.setup import prepare_schema
from storage.database import connect
from storage.distribution.catalogue import read_placement
from storage.keys.api_keys import create_key
from storage.keys.projects import create_project
from tests.citus.cluster import Cluster, Node

# The time is also that in which a new file of the WAL is filled with zeros, every 16 MB.
_SYNCS = """
SELECT sum(fsyncs) FILTER (WHERE context = 'normal'), sum(fsync_time + write_time) FROM pg_stat_io
 WHERE object = 'wal' AND backend_type = 'client backend'
"""
ONE_OF_EACH = ("--http-workers", "1", "--grpc-workers", "1", "--query-workers", "0")
ROLLUPS_S = 3.0  # in which the last rows are summed up, which is counted as well


@dataclass(frozen=True)
class Key:
    """A key to send with, and the number of its project."""

    raw: str
    project_id: str
    project: int


@dataclass(frozen=True)
class Usage:
    """What was used until now: CPU in seconds, and what the server says that it stored."""

    at: float
    server_s: float
    coordinator_s: float
    nodes_s: float
    flushes: float
    flush_rows: float
    syncs: float
    sync_s: float  # in which commits wrote what they wait for, and waited for the disk

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(*(late - early for late, early in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Stand:
    """A running server with one HTTP worker; `nodes` is 0 for one Postgres without Citus."""

    cluster: Cluster
    nodes: int
    keys: Sequence[Key]
    hot_shards: int  # that the projects' rows are in
    process: psutil.Process
    target: Target
    metrics_port: int

    def batches(self, rows_each: int) -> Batches:
        """Return requests of all projects in turn."""
        of_each = [make_batches(key.project_id, key.raw, rows_each, path=INGEST_PATH) for key in self.keys]
        requests = [request for turn in zip(*(each.http_requests for each in of_each), strict=True) for request in turn]
        return Batches(requests, [], rows_each)

    def usage(self) -> Usage:
        """Return what was used until now."""
        metrics = self._metrics()
        coordinator, nodes = _cpu(self.cluster.coordinator), sum(map(_cpu, self.cluster.nodes))
        if not self.nodes:
            coordinator, nodes = 0.0, coordinator
        return Usage(
            time.monotonic(), cpu_seconds(self.process), coordinator, nodes,
            metrics["seestack_flush_rows_count"], metrics["seestack_flush_rows_sum"], *self._syncs(),
        )  # fmt: skip

    def _syncs(self) -> tuple[float, float]:
        """Return how often the disks of all nodes were waited for, and for how long."""
        syncs = sync_s = 0.0
        for node in self.cluster.nodes or [self.cluster.coordinator]:
            with psycopg.connect(node.url()) as connection:
                (of_node, ms) = connection.execute(_SYNCS).fetchone() or (0, 0.0)
            syncs, sync_s = syncs + float(of_node), sync_s + float(ms) / 1000
        return syncs, sync_s

    def _metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {line.split(" ")[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


@contextmanager
def running_stand(cluster: Cluster, nodes: int, projects: int) -> Iterator[Stand]:
    """Run a server with a database of its own in the cluster, and so many projects."""
    for node in (cluster.coordinator, *cluster.nodes):
        with psycopg.connect(node.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET track_wal_io_timing = on")
            # It comes once a minute, in whichever run that is.
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
    url = cluster.create_database("scaling") if nodes else _plain_database(cluster)
    with tempfile.TemporaryDirectory(prefix="seestack-bench-") as folder:
        keys, hot_shards = _prepare(url, nodes, projects)
        log = Path(folder) / "log"
        environment = {**os.environ, "SEESTACK_DATABASE_URL": url, "SEESTACK_DATA_DIR": folder}
        if nodes:
            environment["SEESTACK_DISTRIBUTED"] = "citus"
        flags = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", *ONE_OF_EACH)
        with log.open("w") as output:
            process = subprocess.Popen([COMMAND, "serve", *flags], stdout=output, stderr=output, env=environment)
        try:
            http_port, grpc_port = wait_for_ports(process, log)
            serving = next(line for line in log.read_text().splitlines() if '"serving"' in line)
            metrics_port = int(json.loads(serving)["metrics"].rpartition(":")[2])
            target = Target(("127.0.0.1", http_port), ("127.0.0.1", grpc_port), "")
            yield Stand(cluster, nodes, keys, hot_shards, psutil.Process(process.pid), target, metrics_port)
        finally:
            process.terminate()
            process.wait()


def _plain_database(cluster: Cluster) -> str:
    with psycopg.connect(cluster.coordinator.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE scaling")
    return cluster.coordinator.url("scaling")


def _prepare(url: str, nodes: int, projects: int) -> tuple[list[Key], int]:
    with connect(url) as connection:
        prepare_schema(connection, url if nodes else None)
        keys = []
        for number in range(projects):
            project = create_project(connection, f"project {number}")
            key, raw_key = create_key(connection, project.id, "bench")
            keys.append(Key(raw_key, str(project.id), key.project_number))
        if not nodes:
            return keys, 1
        placement = read_placement(connection)
        return keys, len({placement.shard_of(key.project).number for key in keys})


def _cpu(node: Node) -> float:
    return cpu_seconds(psutil.Process(node.pid))
