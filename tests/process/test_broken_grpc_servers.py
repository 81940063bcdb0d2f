"""A request that breaks grpc.aio's server: its process goes on serving, and others notice next to nothing."""

import grpc

from tests.batches import make_batch
from tests.fuzz.http2_connections import METHOD, call_headers, connection_of
from tests.grpc_client import ReflectingClient
from tests.http.raw_client import RawClient
from tests.process.open_stream import open_stream
from tests.process.polling import children_of, wait_until
from tests.running_server import RunningServer, start_server

BREAKING = connection_of([*call_headers()[:2], (b":path", METHOD + b"\xff"), *call_headers()[3:]], b"")


def test_a_path_that_is_not_utf_8_ends_no_service(database_url: str) -> None:
    with start_server(database_url) as server:
        workers = children_of(server.process.pid)
        for number in range(1, 4):
            with RawClient(server.grpc_port) as client:
                client.send(BREAKING)
                wait_until(lambda n=number: replacements(server) == n, "the server is replaced")  # type: ignore[misc]
            body = make_batch(server.project_id)
            assert ReflectingClient(server.channel()).ingest(body, {"x-seestack-key": server.api_key})["accepted"] == 1
        assert children_of(server.process.pid) == workers
        assert "Traceback" not in server.log.read_text()


def test_a_call_in_flight_is_finished_when_the_server_is_replaced(database_url: str) -> None:
    with (
        start_server(database_url) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        open_stream(channel, server.api_key) as stream,
        RawClient(server.grpc_port) as client,
    ):
        stream.send(make_batch(server.project_id))
        assert stream.receive().accepted == 1
        client.send(BREAKING)
        wait_until(lambda: replacements(server) == 1, "the server is replaced")
        stream.send(make_batch(server.project_id))
        assert stream.receive().accepted == 1


def replacements(server: RunningServer) -> int:
    """Return how often a gRPC server was replaced, as the log tells."""
    return server.log.read_text().count("another one takes over")
