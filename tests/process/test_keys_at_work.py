"""Keys that are revoked or expire while a server uses them."""

import json
import time
from datetime import timedelta
from typing import Any

import grpc
import psycopg

from tests.batches import make_batch
from tests.grpc_client import ReflectingClient, Refusal
from tests.process.open_stream import OpenStream, open_stream
from tests.process.polling import INTERVAL_S
from tests.running_server import RunningServer, create_key, run_command, start_server

REFUSED_WITHIN_S = 10
SHORT_LIFE = timedelta(seconds=5)


class Client:
    """Sends to a server over both protocols with one key."""

    def __init__(self, server: RunningServer, api_key: str) -> None:
        self._server = server
        self._grpc_client = ReflectingClient(server.channel())
        self._api_key = api_key

    def is_taken_over_http(self) -> bool:
        answer = self._server.post(make_batch(self._server.project_id), X_SeeStack_Key=self._api_key)
        assert answer.status in (202, 401)
        return answer.status == 202

    def is_taken_over_grpc(self) -> bool:
        try:
            self._grpc_client.ingest(make_batch(self._server.project_id), {"x-seestack-key": self._api_key})
        except Refusal as refusal:
            if refusal.status is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            return False
        return True

    def is_taken(self) -> bool:
        """Tell whether either protocol takes the key."""
        over_http, over_grpc = self.is_taken_over_http(), self.is_taken_over_grpc()
        return over_http or over_grpc


def test_a_revoked_key_is_refused_within_10_s(server: RunningServer) -> None:
    key = create_key_of(server)
    client = Client(server, key["apiKey"])
    with open_stream(server.channel(), key["apiKey"]) as stream:
        assert client.is_taken_over_http()
        assert client.is_taken_over_grpc()
        assert is_answered(stream, server)
        run_command("keys", "revoke", key["keyId"], database_url=server.database_url)
        assert_not_taken_after(REFUSED_WITHIN_S, client, stream, server)
        assert stream.status is grpc.StatusCode.UNAUTHENTICATED
    assert not client.is_taken()
    assert server.post(make_batch(server.project_id)).status == 202


def test_an_expired_key_is_refused(server: RunningServer) -> None:
    _, api_key = create_key(server.database_url, server.project_id, SHORT_LIFE)
    client = Client(server, api_key)
    with open_stream(server.channel(), api_key) as stream:
        assert client.is_taken_over_http()
        assert client.is_taken_over_grpc()
        assert is_answered(stream, server)
        # The key's row stays cached as valid: the time itself ends it.
        assert_not_taken_after(SHORT_LIFE.total_seconds(), client, stream, server)
        assert stream.status is grpc.StatusCode.UNAUTHENTICATED


def test_last_used_at_is_stored_by_a_stop_at_the_latest(database_url: str) -> None:
    with start_server(database_url) as server:
        assert Client(server, server.api_key).is_taken_over_http()
        assert Client(server, create_key_of(server)["apiKey"]).is_taken_over_grpc()
        assert server.stop() == 0
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT last_used_at > created_at FROM api_keys").fetchall()
    assert rows == [(True,), (True,)]


def create_key_of(server: RunningServer, *options: str) -> dict[str, Any]:
    """Make a further key of the server's project and return what the command says of it."""
    made = run_command(
        "keys", "create", "--project", server.project_id, "--json", *options, database_url=server.database_url
    )
    key: dict[str, Any] = json.loads(made.stdout)
    return key


def assert_not_taken_after(seconds: float, client: Client, stream: OpenStream, server: RunningServer) -> None:
    """Check that what is sent later than so many seconds from now is refused; an answer may take its time."""
    last_s = time.monotonic() + seconds
    sent_s = 0.0
    while client.is_taken() or is_answered(stream, server):
        assert sent_s < last_s
        sent_s = time.monotonic()
        time.sleep(INTERVAL_S)


def is_answered(stream: OpenStream, server: RunningServer) -> bool:
    """Send a batch over the stream and tell whether it is accepted; not when the stream has ended."""
    stream.send(make_batch(server.project_id))
    try:
        return stream.receive().accepted == 1
    except grpc.RpcError:
        return False
