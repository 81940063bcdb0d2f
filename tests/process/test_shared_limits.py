"""A limit that all servers of a database share: whichever of them clients send to, and whatever becomes of them."""

import http.client
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import pytest

from tests.batches import make_batch
from tests.process.database import Database
from tests.process.embedded import new_folder
from tests.process.polling import kill, wait_until
from tests.process.scraping import scrape
from tests.process.test_keys_at_work import create_key_of
from tests.running_server import RunningServer, start_server

RATE = 30
CLIENTS = 3  # of each server
WINDOW_S = 3.0
SHARED = ("--limit-scope", "database")


class Flood:
    """Clients of some servers that send with one key without a pause, and when each batch was taken."""

    def __init__(self, api_key: str) -> None:
        self.taken: deque[float] = deque()
        self.api_key = api_key
        self._began_at = self._phase_at = time.monotonic()

    @contextmanager
    def of(self, *servers: RunningServer) -> Iterator[None]:
        """Send to these servers meanwhile."""
        stopped = Event()
        self._phase_at = time.monotonic()
        with ThreadPoolExecutor(len(servers) * CLIENTS) as executor:
            for server in servers * CLIENTS:
                executor.submit(self._send, server, stopped)
            try:
                yield
            finally:
                stopped.set()

    def rate(self) -> float:
        """Return how many batches a second were taken lately, from the servers that are sent to now."""
        since = max(time.monotonic() - WINDOW_S, self._phase_at)
        return sum(at > since for at in list(self.taken)) / WINDOW_S

    def has_rate(self) -> bool:
        """Tell whether the limit was kept to within 20 % lately, and not passed by more before."""
        # A burst, and what servers allow that do not know of each other yet.
        assert len(self.taken) < RATE * (1.2 * (time.monotonic() - self._began_at) + 1 + 3)
        return 0.8 * RATE < self.rate() < 1.2 * RATE

    def _send(self, server: RunningServer, stopped: Event) -> None:
        batch = make_batch(server.project_id)
        while not stopped.is_set():
            try:
                if server.post(batch, X_SeeStack_Key=self.api_key).status == 202:
                    self.taken.append(time.monotonic())
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)  # the server was killed


def test_three_servers_share_a_limit_as_they_are_asked_and_one_that_is_killed_is_forgotten(database_url: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(start_server(database_url, *SHARED))
        same_key = (first.project_id, first.api_key)
        servers = [first, *(stack.enter_context(start_server(database_url, *SHARED, key=same_key)) for _ in range(2))]
        wait_until(lambda: [scrape(each).get("limit_servers") for each in servers] == [3, 3, 3], "they know each other")
        flood = Flood(create_key_of(first, "--requests-per-second", str(RATE))["apiKey"])
        with flood.of(first):
            wait_until(flood.has_rate, "one server has the whole limit")
        with flood.of(*servers):
            wait_until(flood.has_rate, "all have it together")
            kill([servers[2].process.pid])
            wait_until(lambda: scrape(first).get("limit_servers") == 2, "the one that was killed is forgotten")
            wait_until(flood.has_rate, "the others have it together")
        assert scrape(first).get("limit_sharing_failures_total") == 0


@pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")
def test_servers_without_their_database_keep_the_limit_together(data_folder: Path) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(Database(new_folder(data_folder)))
        first = stack.enter_context(start_server(database.url, *SHARED))
        second = stack.enter_context(start_server(database.url, *SHARED, key=(first.project_id, first.api_key)))
        wait_until(lambda: scrape(first).get("limit_servers") == 2, "they know each other")
        flood = Flood(create_key_of(first, "--requests-per-second", str(RATE))["apiKey"])
        with flood.of(first):
            wait_until(flood.has_rate, "one server has the whole limit")
            assert second.post(make_batch(first.project_id), X_SeeStack_Key=flood.api_key).status in (202, 429)
        database.stop()
        wait_until(lambda: "with one of 2" in second.log.read_text(), "it is said in the log")
        with flood.of(second):
            wait_until(lambda: flood.rate() > 0.4 * RATE, "the other server has an even share")
        with flood.of(first, second):
            wait_until(flood.has_rate, "both keep the limit")
        database.start()
        with flood.of(second):
            wait_until(flood.has_rate, "the other server has the whole limit")
        assert "limits of keys are shared again" in second.log.read_text()
        assert scrape(first).get("limit_sharing_failures_total") > 0
