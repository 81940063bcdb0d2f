"""SIGHUP at any time: the server lives, and no client notices."""

import random
import signal
import time

from tests.process.polling import children_of, wait_until
from tests.process.traffic import Traffic
from tests.running_server import STOP_TIMEOUT_S, start_server

HANGUPS = 50
LONGEST_GAP_S = 0.1


def test_hanging_up_at_any_time_is_harmless(database_url: str) -> None:
    with start_server(database_url) as server:
        workers = children_of(server.process.pid)
        with Traffic(server) as traffic:
            traffic.wait_for_acknowledgements(10)
            for _ in range(HANGUPS):
                server.process.send_signal(signal.SIGHUP)
                time.sleep(random.uniform(0, LONGEST_GAP_S))
            wait_until(lambda: "settings need a restart" in server.log.read_text(), "the log says what is reloaded")
            traffic.wait_for_acknowledgements(10)
        assert children_of(server.process.pid) == workers
        traffic.assert_stored_whole(database_url)
        assert not any(traffic.failures.values())
        server.process.send_signal(signal.SIGTERM)
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.001)
        assert server.process.wait(STOP_TIMEOUT_S) == 0
        assert "Traceback" not in server.log.read_text()
