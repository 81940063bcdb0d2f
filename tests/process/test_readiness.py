"""Ready means that an ordinary batch can be kept now."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.batches import make_batch
from tests.process.database import Database
from tests.process.embedded import new_folder
from tests.process.health import NOT_SERVING, SERVING, check_health
from tests.process.polling import wait_until
from tests.running_server import RunningServer, start_server

SPOOL_BYTES = 2**20


@pytest.fixture
def small_disk(data_folder: Path) -> Iterator[Path]:
    """A file system on which a Postgres fits, and not much more."""
    folder = new_folder(data_folder)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=110m,mode=0711", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def readiness(server: RunningServer) -> int:
    return server.request("GET", "/readyz").status


@pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")
def test_a_server_without_database_is_ready_until_its_spool_is_full(data_folder: Path, tmp_path: Path) -> None:
    limit = ("--data-dir", str(tmp_path), "--spool-max-bytes", str(SPOOL_BYTES))
    with Database(new_folder(data_folder)) as database, start_server(database.url, *limit) as server:
        batch = make_batch(server.project_id, 100, path="/" + "x" * 1_000)
        assert server.post(batch).status == 202
        database.stop()
        channel = server.channel()
        assert server.post(batch).status == 202
        assert readiness(server) == 200
        while server.post(batch).status == 202:
            continue
        assert readiness(server) == 503
        wait_until(lambda: check_health(channel) == NOT_SERVING, "not serving")
        database.start()
        wait_until(lambda: readiness(server) == 200, "ready")
        wait_until(lambda: check_health(channel) == SERVING, "serving")
        assert server.post(batch).status == 202


@pytest.mark.one_postgres("a Postgres on a small disk")
def test_a_server_is_not_ready_while_it_refuses_what_it_is_sent(small_disk: Path) -> None:
    """Database and spool share a disk that is full: Postgres can be reached, but takes no rows."""
    folder = small_disk / "data"
    with Database(small_disk / "database") as database, start_server(database.url, "--data-dir", str(folder)) as server:
        assert server.post(make_batch(server.project_id)).status == 202
        assert readiness(server) == 200
        with suppress(OSError), (small_disk / "filling").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**16))
        batch = make_batch(server.project_id, 100, path="/" + "x" * 2_000)
        wait_until(lambda: server.post(batch).status == 503, "it refuses")
        refused = [readiness(server) for _ in range(50) if server.post(batch).status == 503]
        assert refused.count(503) > 0.9 * len(refused)
        (small_disk / "filling").unlink()
        wait_until(lambda: server.post(batch).status == 202, "it takes batches")
        wait_until(lambda: readiness(server) == 200, "ready")
