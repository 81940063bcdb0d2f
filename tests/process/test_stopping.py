"""SIGTERM and Ctrl-C: nothing that was acknowledged is lost, and nothing stays behind."""

import os
import signal
import socket
from pathlib import Path

import grpc
import pytest

from tests.batches import make_batch
from tests.process.embedded import launch, new_folder, postmaster_pid, serve_embedded
from tests.process.health import SERVING, watch_health
from tests.process.open_stream import open_stream
from tests.process.polling import children_of, is_alive, refuses_connections, wait_until
from tests.process.traffic import Traffic
from tests.running_server import STOP_TIMEOUT_S, TWO_OF_EACH, start_server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_during_traffic_loses_no_acknowledged_batch(number: signal.Signals, database_url: str) -> None:
    with start_server(database_url, *TWO_OF_EACH) as server, Traffic(server) as traffic:
        traffic.wait_for_acknowledgements(20)
        workers = children_of(server.process.pid)
        server.process.send_signal(number)
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert not any(map(is_alive, workers))
        assert refuses_connections(server.http_port)
        assert refuses_connections(server.grpc_port)
        log = server.log.read_text()
    traffic.assert_stored_whole(database_url)
    assert "Traceback" not in log
    assert "is killed" not in log


@pytest.mark.one_postgres("the embedded Postgres")
def test_ctrl_c_in_a_terminal_reaches_the_whole_group_and_ends_it_cleanly(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    with serve_embedded(folder) as server:
        assert server.post(make_batch(server.project_id)).status == 202
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert "Traceback" not in server.log.read_text()
        assert postmaster_pid(folder) is None


@pytest.mark.one_postgres("the embedded Postgres")
def test_a_stop_while_starting_ends_it_cleanly(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    with launch(folder) as launched:
        wait_until((folder / "start.lock").exists, "the server has begun to start")
        launched.process.send_signal(signal.SIGTERM)
        assert launched.process.wait(STOP_TIMEOUT_S) == 0
        assert "Traceback" not in launched.log.read_text()
        assert postmaster_pid(folder) is None


def test_connections_and_streams_that_are_idle_do_not_delay_a_stop(database_url: str) -> None:
    with (
        start_server(database_url, "--grace-seconds", "600") as server,
        socket.create_connection(("127.0.0.1", server.http_port)),
        socket.create_connection(("127.0.0.1", server.http_port)) as kept_alive,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        open_stream(channel, server.api_key) as stream,
    ):
        kept_alive.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert kept_alive.recv(4096).startswith(b"HTTP/1.1 200")
        stream.send(make_batch(server.project_id))
        assert stream.receive().accepted == 1
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert stream.status is grpc.StatusCode.UNAVAILABLE


def test_a_client_that_watches_the_health_does_not_delay_a_stop(database_url: str) -> None:
    with (
        start_server(database_url, "--grace-seconds", "600") as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        watch = watch_health(channel)
        assert next(watch) == SERVING
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_TIMEOUT_S) == 0
