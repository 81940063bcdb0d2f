"""kill -9: of a worker, of the supervisor, of everything. What was acknowledged is stored, and service goes on."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import grpc
import psycopg
import pytest

from tests.batches import make_batch
from tests.grpc_client import ReflectingClient, Refusal
from tests.patience import PATIENCE_S
from tests.process.database import Database
from tests.process.embedded import launch, new_folder, postgres_processes, serve_embedded
from tests.process.polling import (
    INTERVAL_S,
    can_listen,
    children_of,
    command_of,
    is_alive,
    kill,
    live_workers,
    wait_until,
)
from tests.process.table_lock import lock_table
from tests.process.traffic import Traffic
from tests.running_server import STOP_TIMEOUT_S, TWO_OF_EACH, RunningServer, create_key, start_server

MODULES = ("http_bridge", "server.grpc.worker")
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
LONGEST_LIFE_S = 0.3  # under load, before a server is killed
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def test_killed_workers_are_replaced_while_the_server_goes_on(database_url: str) -> None:
    with start_server(database_url, *TWO_OF_EACH) as server, Traffic(server) as traffic:
        traffic.wait_for_acknowledgements(10)
        first, second = zip(*(live_workers(server, module) for module in MODULES), strict=True)
        kill(first)
        assert is_answered_over_http(server)
        answer_over_grpc(server)
        wait_until(lambda: len(children_of(server.process.pid)) == 4, "workers are replaced")
        replacements = set(children_of(server.process.pid)) - set(second)
        # With the others gone too, it is the replacements that have to answer.
        kill(second)
        wait_until(lambda: is_answered_over_grpc(server), "a replacement serves gRPC")
        # The listening socket outlives its workers: a request waits for the next one.
        assert is_answered_over_http(server)
        traffic.wait_for_acknowledgements(10)
        assert replacements <= set(children_of(server.process.pid))
        assert "Traceback" not in server.log.read_text()
    traffic.assert_stored_whole(database_url)


def test_workers_end_by_themselves_when_the_supervisor_is_killed(database_url: str) -> None:
    with start_server(database_url, *TWO_OF_EACH) as server, Traffic(server) as traffic:
        traffic.wait_for_acknowledgements(10)
        workers = children_of(server.process.pid)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(map(is_alive, workers)), "the workers end")
        assert can_listen(server.http_port)
        assert can_listen(server.grpc_port)
    traffic.assert_stored_whole(database_url)


def test_killing_the_server_at_any_moment_under_load_loses_no_acknowledged_batch(database_url: str) -> None:
    key = create_key(database_url)
    chooser = random.Random()
    cut_off: list[Traffic] = []
    for _ in range(ROUNDS):
        with start_server(database_url, *TWO_OF_EACH, key=key) as server, Traffic(server) as traffic:
            traffic.wait_for_acknowledgements(3)
            time.sleep(chooser.uniform(0, LONGEST_LIFE_S))
            processes = [server.process.pid, *children_of(server.process.pid)]
            kill(chooser.sample(processes, len(processes)))
        cut_off.append(traffic)
    with start_server(database_url, key=key) as server:
        assert server.post(make_batch(server.project_id)).status == 202
        for traffic in cut_off:
            traffic.assert_stored_whole(database_url)


def test_killing_the_server_while_nothing_can_be_stored_loses_no_acknowledged_batch(database_url: str) -> None:
    with start_server(database_url, *TWO_OF_EACH) as server, Traffic(server) as traffic:
        traffic.wait_for_acknowledgements(10)
        with lock_table(database_url) as lock:
            lock.wait_for_writers(2)
            kill([server.process.pid, *children_of(server.process.pid)])
    traffic.assert_stored_whole(database_url)


@pytest.mark.one_postgres("the embedded Postgres")
def test_killing_postgres_too_loses_no_acknowledged_batch_whatever_its_defaults(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    with Database(folder) as database, psycopg.connect(database.url) as connection:
        connection.execute("ALTER DATABASE postgres SET synchronous_commit = off")
    with serve_embedded(folder) as server, Traffic(server) as traffic:
        traffic.wait_for_acknowledgements(10)
        orphans = postgres_processes(folder)
        kill([server.process.pid, *children_of(server.process.pid), *orphans])
        wait_until_forgotten(orphans)
    with serve_embedded(folder) as again:
        assert again.api_key == server.api_key
        assert again.post(make_batch(again.project_id)).status == 202
        traffic.assert_stored_whole(again.database_url)
        assert again.stop() == 0


@pytest.mark.one_postgres("the embedded Postgres")
def test_an_embedded_postgres_that_dies_is_started_again(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    with serve_embedded(folder) as server, Traffic(server) as traffic:
        traffic.wait_for_acknowledgements(10)
        orphans = postgres_processes(folder)
        kill(orphans)
        wait_until_forgotten(orphans)
        traffic.wait_for_acknowledgements(10)
        traffic.assert_stored_whole(server.database_url)


@pytest.mark.one_postgres("the embedded Postgres")
def test_it_is_started_again_in_a_container_too_where_the_server_is_init(data_folder: Path) -> None:
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make a process namespace")
    folder = new_folder(data_folder)
    with launch(folder, wrapper=CONTAINER) as launched:
        server = launched.wait_until_it_serves()
        (supervisor,) = children_of(launched.process.pid)
        (postgres,) = [pid for pid in children_of(supervisor) if "-D" in command_of(pid)]
        kill([postgres])
        wait_until(
            lambda: server.post(make_batch(server.project_id)).status == 202,
            "batches are taken again",
        )
        os.kill(supervisor, signal.SIGTERM)
        assert launched.process.wait(STOP_TIMEOUT_S) == 0


def is_answered_over_http(server: RunningServer) -> bool:
    """Tell whether new clients are served."""
    return all(server.post(make_batch(server.project_id)).status == 202 for _ in range(5))


def answer_over_grpc(server: RunningServer) -> None:
    """Have new clients served. Raises Refusal."""
    batch = make_batch(server.project_id)
    for _ in range(5):
        # A pool of its own, so that no channel uses the connection of another.
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
            ReflectingClient(channel).ingest(batch, {"x-seestack-key": server.api_key})


def is_answered_over_grpc(server: RunningServer) -> bool:
    """Tell whether new clients are served."""
    try:
        answer_over_grpc(server)
    except (Refusal, grpc.RpcError):
        return False
    return True


def wait_until_forgotten(orphans: list[int]) -> None:
    """Wait until init has taken note of the end of processes whose parent is gone."""
    deadline = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() for pid in orphans):
        if time.monotonic() > deadline:
            pytest.skip("the init of this system does not look after orphans")
        time.sleep(INTERVAL_S)
