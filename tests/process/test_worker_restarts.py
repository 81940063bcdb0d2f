"""Workers that cannot be started: for want of resources, which come back, or because of their code."""

import resource
from contextlib import closing
from pathlib import Path

import pytest

from server.processes.listeners import listen
from server.processes.signals import Flag
from server.processes.supervisor import Supervisor, WorkerStartError
from server.processes.worker_process import FIRST_BACKOFF_S
from server.settings import load_settings
from tests.batches import make_batch
from tests.log_lines import log_lines
from tests.process.polling import kill, live_workers, wait_until
from tests.project.repository import ROOT
from tests.running_server import RunningServer, start_server

MODULE = "http_bridge"
UNIMPORTABLE = "tests.process.unimportable_worker"
CANNOT_START = f"a {MODULE} worker cannot be started"
RETRIES = 3
# All lower descriptors are in use.
NO_MORE_FILES = 3


def test_a_worker_that_cannot_be_started_is_tried_again_until_it_can(database_url: str) -> None:
    with start_server(database_url, "--http-workers", "2", "--grpc-workers", "1") as server:
        pid = server.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (NO_MORE_FILES, hard))
        try:
            kill(live_workers(server, MODULE)[:1])
            wait_until(lambda: failures(server.log) >= RETRIES, "it is tried again")
            assert server.process.poll() is None
            assert is_answered(server)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        wait_until(lambda: len(live_workers(server, MODULE)) == 2, "it is started")
        assert is_answered(server)
        # It paused longer each time.
        assert f"retry in {FIRST_BACKOFF_S * 2 ** (RETRIES - 1):g} s" in server.log.read_text()


def failures(log: Path) -> int:
    return log.read_text().count(CANNOT_START)


def is_answered(server: RunningServer) -> bool:
    return server.post(make_batch(server.project_id)).status == 202


def test_a_worker_that_cannot_be_imported_says_so_in_a_log_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with closing(listen("127.0.0.1", 0)) as listener:
        settings = load_settings(database_url="postgresql://unused", http_workers=1, grpc_workers=1, query_workers=0)
        supervisor = Supervisor(settings, listener, http_module=UNIMPORTABLE, grpc_module=UNIMPORTABLE)
        with pytest.raises(WorkerStartError):
            supervisor.start(Flag())
    lines = log_lines(capfd.readouterr().err)
    assert lines
    assert all(line["level"] == "critical" and "no such part" in line["traceback"] for line in lines)
