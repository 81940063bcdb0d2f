"""`serve` without a database URL: credentials, data that stay, and a banner whose lines can be pasted."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batches import make_batch
from tests.process.embedded import new_folder, postmaster_pid, serve_embedded
from tests.running_server import RunningServer

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_grpcurl = pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed")


@pytest.fixture(scope="module")
def running(data_folder: Path) -> Iterator[RunningServer]:
    with serve_embedded(new_folder(data_folder)) as server:
        yield server


def test_credentials_and_rows_outlive_a_restart(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    with serve_embedded(folder) as first:
        assert first.post(make_batch(first.project_id, 3, traceId="before")).status == 202
        written = (folder / "credentials.json").read_bytes()
        assert first.stop() == 0
        assert postmaster_pid(folder) is None
    with serve_embedded(folder) as second:
        assert (folder / "credentials.json").read_bytes() == written
        assert second.post(make_batch(second.project_id, 2, traceId="after")).status == 202
        assert len(second.rows("before")) == 3
        assert len(second.rows("after")) == 2


def test_only_the_owner_can_read_the_credentials(running: RunningServer) -> None:
    file = credentials_file(running)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == {"projectId": running.project_id, "apiKey": running.api_key}


def test_the_banner_says_what_to_do_and_keeps_the_key_to_itself(running: RunningServer) -> None:
    banner = running.log.read_text()
    assert f"http://127.0.0.1:{running.http_port}/docs" in banner
    assert f"\n  curl http://127.0.0.1:{running.http_port}/ingest/v1/http-requests " in banner
    assert "\n  grpcurl -plaintext " in banner
    assert running.api_key not in banner
    # The form of the key is in nothing that is printed either.
    assert "seestack_live_" not in banner


@needs_curl
def test_the_curl_line_of_the_banner_works(running: RunningServer) -> None:
    assert json.loads(paste(running, "KEY=", "BATCH=", "curl ")) == {"ok": True, "accepted": 1}


@needs_grpcurl
def test_the_grpcurl_line_of_the_banner_works(running: RunningServer) -> None:
    assert json.loads(paste(running, "KEY=", "BATCH=", "grpcurl ")) == {"ok": True, "accepted": 1}


def test_the_psql_line_of_the_banner_shows_the_rows(running: RunningServer) -> None:
    assert running.post(make_batch(running.project_id, host="psql.example.com")).status == 202
    (line,) = [line for line in banner_lines(running) if " psql " in line]
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=60)
    assert "psql.example.com" in done.stdout


@needs_curl
def test_the_data_folder_may_have_an_unusual_name(data_folder: Path) -> None:
    with serve_embedded(data_folder / "it's my 100 %, & more") as server:
        assert json.loads(paste(server, "KEY=", "BATCH=", "curl ")) == {"ok": True, "accepted": 1}
        assert len(server.rows("trace-001")) == 1
        assert server.stop() == 0


def banner_lines(server: RunningServer) -> list[str]:
    return [line.strip() for line in server.log.read_text().splitlines()]


def credentials_file(server: RunningServer) -> Path:
    """Return the file that the banner names."""
    (line,) = [line for line in banner_lines(server) if line.startswith("key ")]
    return Path(line.removeprefix("key ").strip())


def paste(server: RunningServer, *starts: str) -> str:
    """Run the lines of the banner that start so, as somebody does who pastes them, and return their output."""
    lines = [line for line in banner_lines(server) if line.startswith(starts)]
    assert len(lines) == len(starts)
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout
