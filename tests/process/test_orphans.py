"""A worker whose supervisor is gone."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.access.token_buckets import create_buckets_file
from server.observability.metrics import create_cells
from server.query.relay.channel import create_channel
from server.row_handover import RowReceiver
from storage.rollups.handed_rows import Handover
from tests.patience import PATIENCE_S
from tests.process.polling import wait_until
from tests.project.repository import ROOT

NOWHERE = "postgresql://postgres@/postgres?host=/nonexistent"


@contextmanager
def orphaned_worker(module: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a worker whose supervisor is gone by the time that it reports to be ready."""
    read_end, ready_fd = os.pipe()
    os.close(read_end)
    lifeline_fd, lifeline_end = os.pipe()
    cells_fd, buckets_fd, channel_ends = create_cells(), create_buckets_file(), create_channel()
    rows_fd = RowReceiver(Handover()).open()
    settings = {"DATABASE_URL": NOWHERE, "DATA_DIR": str(folder), "GRACE_SECONDS": "0", "SPOOL": "off"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        inherited = (ready_fd, cells_fd, rows_fd, lifeline_fd, buckets_fd, channel_ends[0], listener.fileno())
        worker = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, inherited)],
            pass_fds=inherited, cwd=ROOT,
            env={**os.environ, **{f"SEESTACK_{name}": value for name, value in settings.items()}},
        )  # fmt: skip
        try:
            wait_until(lambda: not Path(f"/proc/{worker.pid}/fd/{ready_fd}").exists(), "it has reported to nobody")
            os.close(lifeline_end)
            yield worker
        finally:
            worker.kill()
            worker.wait()
            for descriptor in (ready_fd, lifeline_fd, cells_fd, rows_fd, buckets_fd, *channel_ends):
                os.close(descriptor)


def test_a_worker_whose_supervisor_dies_while_it_starts_ends_by_itself(tmp_path: Path) -> None:
    with orphaned_worker("http_bridge", tmp_path) as worker:
        assert worker.wait(PATIENCE_S) == 0


def test_an_orphan_that_does_not_stop_is_ended(tmp_path: Path) -> None:
    with orphaned_worker("tests.process.stuck_worker", tmp_path) as worker:
        assert worker.wait(PATIENCE_S) == 1
