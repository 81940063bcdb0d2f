"""Limits of keys over all workers of a server, while they change, and while workers are killed."""

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import grpc

from tests.batches import make_batch
from tests.grpc_client import ReflectingClient, Refusal
from tests.process.open_stream import open_stream
from tests.process.polling import children_of, kill, live_workers, wait_until
from tests.process.test_keys_at_work import create_key_of
from tests.running_server import RunningServer, run_command, start_server

WORKERS = ("--http-workers", "3", "--grpc-workers", "2")
CLIENTS = 8
SLOW = "0.001"


class Client:
    """Sends to a server over both protocols with one key; each HTTP request and gRPC channel is a new connection."""

    def __init__(self, server: RunningServer, *limits: str) -> None:
        self.key = create_key_of(server, *limits)
        self._server = server

    def post(self) -> int:
        """Send a batch over HTTP and return the status; 0 when the connection is cut off."""
        try:
            return self._server.post(make_batch(self._server.project_id), X_SeeStack_Key=self.key["apiKey"]).status
        except (OSError, http.client.HTTPException):
            return 0

    def call(self, count: int = 1) -> Refusal | None:
        """Send `count` batches over gRPC and return the first refusal."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.insecure_channel(f"127.0.0.1:{self._server.grpc_port}", options) as channel:
            client = ReflectingClient(channel)
            try:
                for _ in range(count):
                    client.ingest(make_batch(self._server.project_id), {"x-seestack-key": self.key["apiKey"]})
            except Refusal as refusal:
                return refusal
        return None


def test_a_burst_is_one_burst_over_all_workers_even_if_some_are_killed(database_url: str) -> None:
    burst = 90
    with start_server(database_url, *WORKERS) as server:
        limited = Client(server, "--requests-per-second", SLOW, "--requests-burst", str(burst))
        free = Client(server)
        assert limited.call(count=10) is None
        with ThreadPoolExecutor() as executor:
            statuses = Counter(executor.map(lambda _: limited.post(), range(burst)))
        assert statuses == {202: burst - 10, 429: 10}
        refusal = limited.call()
        assert refusal is not None
        assert refusal.reason == "RATE_LIMITED"

        with flood(limited) as seen:
            wait_until(lambda: seen[429] > 100, "the flood is refused")
            victims = live_workers(server, "http_bridge")[:2]
            kill(victims)
            # Those that are left serve, and those that come know of what was used up.
            assert free.post() == 202
            wait_until(lambda: len(children_of(server.process.pid)) == 5, "they are replaced")
            refused = seen[429]
            wait_until(lambda: seen[429] > refused + 100, "the flood goes on")
            assert free.post() == 202
            assert free.call() is None
        assert set(seen) <= {429, 0}
        assert limited.post() == 429


def test_a_running_server_follows_a_change_of_limits(server: RunningServer) -> None:
    client = Client(server)
    assert client.post() == 202
    assert client.call() is None
    change(server, client, "--requests-per-second", SLOW, "--requests-burst", "1")
    wait_until(lambda: client.post() == 429 and client.call() is not None, "the limit holds")
    change(server, client, "--requests-per-second", "1000")
    wait_until(lambda: client.post() == 202 and client.call() is None, "the limit is raised")


def test_what_was_refused_passes_after_the_time_that_was_told(server: RunningServer) -> None:
    client = Client(server, "--requests-per-second", "0.5", "--requests-burst", "1")
    batch = make_batch(server.project_id)
    with open_stream(server.channel(), client.key["apiKey"]) as stream:
        stream.send(batch)
        stream.send(batch)
        assert stream.receive().accepted == 1
        delay = stream.receive().error.retry_delay.ToTimedelta().total_seconds()
        assert 0 < delay < 2
        time.sleep(delay)
        stream.send(batch)
        assert stream.receive().accepted == 1


def change(server: RunningServer, client: Client, *limits: str) -> None:
    run_command("keys", "limit", client.key["keyId"], *limits, database_url=server.database_url)


@contextmanager
def flood(client: Client) -> Iterator[Counter[int]]:
    """Send without a pause from several threads, and count the statuses of the answers."""
    seen: Counter[int] = Counter()
    stopped = Event()

    def send() -> None:
        while not stopped.is_set():
            seen[client.post()] += 1

    with ThreadPoolExecutor() as executor:
        for _ in range(CLIENTS):
            executor.submit(send)
        try:
            yield seen
        finally:
            stopped.set()
