"""A worker that cannot be started for want of resources is started later; the server goes on meanwhile."""

import resource
from pathlib import Path

from server.processes.worker_process import FIRST_BACKOFF_S
from tests.batches import make_batch
from tests.process.polling import kill, live_workers, wait_until
from tests.running_server import RunningServer, start_server

MODULE = "http_bridge"
CANNOT_START = f"a {MODULE} worker cannot be started"
RETRIES = 3
RESTARTED_WITHIN_S = 30
# All lower descriptors are in use.
NO_MORE_FILES = 3


def test_a_worker_that_cannot_be_started_is_tried_again_until_it_can(database_url: str) -> None:
    with start_server(database_url, "--http-workers", "2", "--grpc-workers", "1") as server:
        pid = server.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (NO_MORE_FILES, hard))
        try:
            kill(live_workers(server, MODULE)[:1])
            wait_until(lambda: failures(server.log) >= RETRIES, "it is tried again", RESTARTED_WITHIN_S)
            assert server.process.poll() is None
            assert is_answered(server)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        wait_until(lambda: len(live_workers(server, MODULE)) == 2, "it is started", RESTARTED_WITHIN_S)
        assert is_answered(server)
        # It paused longer each time.
        assert f"retry in {FIRST_BACKOFF_S * 2 ** (RETRIES - 1):g} s" in server.log.read_text()


def failures(log: Path) -> int:
    return log.read_text().count(CANNOT_START)


def is_answered(server: RunningServer) -> bool:
    return server.post(make_batch(server.project_id)).status == 202
