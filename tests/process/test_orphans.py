"""A worker whose supervisor is gone before it serves."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from server.access.token_buckets import create_buckets_file
from server.observability.metrics import create_cells
from tests.patience import PATIENCE_S
from tests.process.polling import wait_until
from tests.project.repository import ROOT

NOWHERE = "postgresql://postgres@/postgres?host=/nonexistent"


def test_a_worker_whose_supervisor_dies_while_it_starts_ends_by_itself(tmp_path: Path) -> None:
    read_end, ready_fd = os.pipe()
    os.close(read_end)
    lifeline_fd, lifeline_end = os.pipe()
    cells_fd, buckets_fd = create_cells(), create_buckets_file()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        inherited = (ready_fd, cells_fd, lifeline_fd, buckets_fd, listener.fileno())
        worker = subprocess.Popen(
            [sys.executable, "-m", "http_bridge", *map(str, inherited)],
            pass_fds=inherited, cwd=ROOT,
            env={**os.environ, "SEESTACK_DATABASE_URL": NOWHERE, "SEESTACK_DATA_DIR": str(tmp_path)},
        )  # fmt: skip
        try:
            wait_until(lambda: not Path(f"/proc/{worker.pid}/fd/{ready_fd}").exists(), "it has reported to nobody")
            os.close(lifeline_end)
            assert worker.wait(PATIENCE_S) == 0
        finally:
            worker.kill()
            worker.wait()
            for descriptor in (ready_fd, lifeline_fd, cells_fd, buckets_fd):
                os.close(descriptor)
