"""`python -m bench.faults.citus BINARIES`: many rounds of faults of a database that Citus distributes, under load."""

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import psycopg

from bench.faults.clients import BATCH_ROWS, Target
from bench.faults.load import Load
from bench.faults.postgres import wait_until
from bench.faults.record import Outcome, Record
from bench.faults.rollups import differences
from bench.faults.server import Server
from server.database.setup import prepare_schema
from storage.database import connect
from storage.distribution.catalogue import read_placement
from storage.keys.api_keys import create_key
from storage.keys.projects import create_project
from tests.citus.cluster import Cluster, Node, running_cluster

SHARDS = 8
ONE_OF_EACH = ("--http-workers", "1", "--grpc-workers", "1", "--query-workers", "0")
LONGEST_DOWN_S = 2.0
UNDISTURBED_S = 20.0  # before a node goes down, to compare with
REST_S = 1.0  # between two rounds

_STORED = "SELECT trace_id, count(*) FROM http_requests GROUP BY trace_id"
_HAS_SHARDS = "SELECT citus_set_node_property(%s, %s, 'shouldhaveshards', %s)"
# In the background, as Citus tries moves again there: one fails while autovacuum holds what an earlier one has left.
_REBALANCE = "SELECT citus_rebalance_start(drain_only => %s, shard_transfer_mode => 'force_logical')"
_WAIT = "SELECT citus_rebalance_wait()"
_UNFINISHED = "SELECT string_agg(message, '; ') FROM pg_dist_background_task WHERE status <> 'done'"
_MOVES = "SELECT count(*), coalesce(sum(retry_count), 0) FROM pg_dist_background_task"


@dataclass
class Stand:
    """A server on a cluster of two nodes, each of which has a project that is sent to."""

    cluster: Cluster
    url: str
    server: Server
    loads: dict[int, Load]  # by the port of their node
    added: Node | None = None
    downs: list[tuple[int, float, float]] = field(default_factory=list)  # when only the node of that port was up

    def some_node(self) -> Node:
        """Return a node that has rows of a load."""
        return random.choice([node for node in self.cluster.nodes if node.port in self.loads])

    def spend_round(self) -> None:
        """Wait until each project is acknowledged again and the spool is empty."""
        since = time.monotonic()
        wait_until(
            lambda: all(load.is_acknowledged_since(since) for load in self.loads.values()), "batches are acknowledged"
        )
        wait_until(self.server.is_spool_empty, "the spool is empty")
        time.sleep(REST_S)


@contextmanager
def set_up(binaries: Path, folder: Path) -> Iterator[Stand]:
    """Run everything with its data in `folder`."""
    folder.chmod(0o711)
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster(binaries, nodes=2, fsync=True, shards=SHARDS, parent=folder))
        url = cluster.create_database("faults")
        projects: dict[int, tuple[str, str]] = {}
        with connect(url) as connection:
            prepare_schema(connection, url)
            placement = read_placement(connection)
            while len(projects) < len(cluster.nodes):
                project = create_project(connection, f"faults {time.monotonic()}")
                port = placement.shard_of(project.number).node.port
                if port not in projects:
                    projects[port] = str(project.id), create_key(connection, project.id, "faults")[1]
        server = stack.enter_context(Server(folder / "spool", url, "--distributed", "citus", *ONE_OF_EACH))
        loads = {
            port: stack.enter_context(Load(Target(server.http, server.grpc, *project)))
            for port, project in projects.items()
        }
        yield Stand(cluster, url, server, loads)


def kill_node(stand: Stand) -> None:
    """Kill a node and start it again."""
    _kill(stand.some_node())


def kill_coordinator(stand: Stand) -> None:
    """Kill the coordinator and start it again."""
    _kill(stand.cluster.coordinator)


def kill_server(stand: Stand) -> None:
    """Kill the server and start it again."""
    time.sleep(random.uniform(0.0, LONGEST_DOWN_S))
    stand.server.kill()
    stand.server.start()


def move_shards(stand: Stand) -> None:
    """Have a third node take a third of the shards; it is added at first, and gives them back before later rounds."""
    with psycopg.connect(stand.url, autocommit=True) as connection:
        if stand.added is None:
            stand.added = stand.cluster.add_node(stand.cluster.name_of(stand.url))
        else:
            _rebalance(connection, stand.added, has_shards=False)
        _rebalance(connection, stand.added, has_shards=True)


def _rebalance(connection: psycopg.Connection, node: Node, *, has_shards: bool) -> None:
    connection.execute(_HAS_SHARDS, ("127.0.0.1", node.port, has_shards))
    connection.execute(_REBALANCE, (not has_shards,))
    connection.execute(_WAIT)
    if (unfinished := connection.execute(_UNFINISHED).fetchone()) != (None,):
        raise RuntimeError(f"shards were not moved: {unfinished}")


def stop_node_for_a_minute(stand: Stand) -> None:
    """Kill a node, and start it again after a minute."""
    time.sleep(UNDISTURBED_S)
    victim = stand.some_node()
    began_at = time.monotonic()
    victim.kill()
    time.sleep(60.0)
    victim.start()
    stand.downs.append((next(port for port in stand.loads if port != victim.port), began_at, time.monotonic()))


def _kill(node: Node) -> None:
    time.sleep(random.uniform(0.0, LONGEST_DOWN_S))
    node.kill()
    time.sleep(random.uniform(0.0, LONGEST_DOWN_S))
    node.start()


FAULTS: dict[str, Callable[[Stand], None]] = {
    "kill-node": kill_node,
    "kill-coordinator": kill_coordinator,
    "kill-server": kill_server,
    "move-shards": move_shards,
    "node-down": stop_node_for_a_minute,
}


@dataclass(frozen=True)
class Result:
    """What came of all rounds of a fault; numbers of batches."""

    name: str
    rounds: int
    seconds: float
    acknowledged: int
    refused: int
    unanswered: int
    lost: int  # acknowledged, and not stored whole
    doubled: int
    torn: int  # not acknowledged, and stored in part
    wrong_rollups: Sequence[str]
    remarks: Sequence[str]

    @property
    def has_failed(self) -> bool:
        """Tell whether any batch is not stored, or not summed up, as it should be."""
        return bool(self.lost or self.doubled or self.torn or self.wrong_rollups)


def try_fault(binaries: Path, name: str, rounds: int) -> Result:
    """Inject a fault so many times, and compare what was acknowledged with what is stored."""
    folder = Path(tempfile.mkdtemp(prefix="seestack-citus-"))
    try:
        with set_up(binaries, folder) as stand:
            stand.spend_round()
            began_at = time.monotonic()
            for number in range(1, rounds + 1):
                FAULTS[name](stand)
                stand.spend_round()
                click.echo(f"{name}: {number} of {rounds}, {time.monotonic() - began_at:.0f} s", err=True)
            records = {port: load.stop() for port, load in stand.loads.items()}
            wait_until(stand.server.is_spool_empty, "the spool is empty")
            stand.server.stop()  # and so nobody else sums up
            return _judge(stand, name, rounds, records)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge(stand: Stand, name: str, rounds: int, records: dict[int, Record]) -> Result:
    with psycopg.connect(stand.url) as connection:
        stored: dict[str, int] = dict(connection.execute(_STORED).fetchall())
        moves, retries = connection.execute(_MOVES).fetchone() or (0, 0)
    acknowledged = set().union(*(record.all_acknowledged for record in records.values()))
    remarks = [f"{count} x {answer}" for record in records.values() for answer, count in record.wrong_answers.items()]
    if moves:
        remarks.append(f"{moves} shards were moved, {retries} times at another try")
    for elsewhere, start, end in stand.downs:
        record = records[elsewhere]
        before, during = record.wait_s(0.99, start - UNDISTURBED_S, start), record.wait_s(0.99, start, end)
        remarks.append(f"p99 elsewhere {1000 * before:.0f} ms before, {1000 * during:.0f} ms while a node is down")
    outcomes = [record.outcomes for record in records.values()]
    return Result(
        name, rounds, max(record.ended_at - record.began_at for record in records.values()), len(acknowledged),
        sum(each[Outcome.REFUSED] for each in outcomes), sum(each[Outcome.UNANSWERED] for each in outcomes),
        lost=sum(stored.get(trace, 0) < BATCH_ROWS for trace in acknowledged),
        doubled=sum(count > BATCH_ROWS for count in stored.values()),
        torn=sum(count < BATCH_ROWS for trace, count in stored.items() if trace not in acknowledged),
        wrong_rollups=differences(stand.url), remarks=remarks,
    )  # fmt: skip


@click.command()
@click.argument("binaries", type=click.Path(path_type=Path, exists=True))
@click.option("--faults", "names", metavar="NAME,...", default=",".join(FAULTS), show_default=True)
@click.option("--rounds", type=int, default=20, show_default=True, help="of each fault")
def main(binaries: Path, names: str, rounds: int) -> None:
    """Inject faults into a cluster of its own under load, and print a line for each.

    BINARIES is the bin folder of a Postgres that has Citus. The exit code is 1 when a batch was lost or doubled, or
    when rollups are not the sums of the rows.
    """
    has_failed = False
    for name in names.split(","):
        result = try_fault(binaries, name, rounds)
        has_failed |= result.has_failed
        click.echo(result)
    sys.exit(has_failed)


if __name__ == "__main__":
    main()
