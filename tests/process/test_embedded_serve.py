"""`serve` without a database URL: credentials, data that stay, and a banner whose lines can be pasted."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.batches import make_batch
from tests.log_lines import log_lines
from tests.process.embedded import new_folder, postmaster_pid, serve_embedded
from tests.process.terminal import open_terminal
from tests.running_server import RunningServer

pytestmark = pytest.mark.one_postgres("the embedded Postgres")

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_grpcurl = pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed")


@dataclass
class Announced:
    """A server that was started on a terminal, and the lines of its banner."""

    server: RunningServer
    banner: list[str]


@contextmanager
def serve_on_terminal(folder: Path) -> Iterator[Announced]:
    with open_terminal() as terminal, serve_embedded(folder, stdout=terminal.descriptor) as server:
        yield Announced(server, terminal.read_lines(" psql "))


@pytest.fixture(scope="module")
def announced(data_folder: Path) -> Iterator[Announced]:
    with serve_on_terminal(new_folder(data_folder)) as running:
        yield running


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


def test_only_the_owner_can_read_the_credentials(announced: Announced) -> None:
    (line,) = [line for line in announced.banner if line.startswith("key ")]
    file = Path(line.removeprefix("key ").strip())
    assert file.stat().st_mode & 0o777 == 0o600
    server = announced.server
    credentials = json.loads(file.read_text())
    assert set(credentials) == {"projectId", "apiKey", "readKey"}
    assert (credentials["projectId"], credentials["apiKey"]) == (server.project_id, server.api_key)


def test_the_banner_says_what_to_do_and_keeps_the_key_to_itself(announced: Announced) -> None:
    banner, server = "\n".join(announced.banner), announced.server
    assert f"http://127.0.0.1:{server.http_port}/docs" in banner
    assert f"\ncurl http://127.0.0.1:{server.http_port}/ingest/v1/http-requests " in banner
    assert "\ngrpcurl -plaintext " in banner
    # The form of the key is in nothing that is printed either.
    for printed in (banner, server.log.read_text()):
        assert server.api_key not in printed
        assert "seestack_live_" not in printed


def test_what_is_no_terminal_gets_json_lines_only(data_folder: Path) -> None:
    with serve_embedded(new_folder(data_folder)) as server:
        assert server.post(b"{").status == 400
        assert server.stop() == 0
        messages = [line["message"] for line in log_lines(server.log.read_text())]
        assert {"serving", "request refused", "stopped"} <= set(messages)


@needs_curl
def test_the_curl_line_of_the_banner_works(announced: Announced) -> None:
    assert json.loads(paste(announced.banner, "KEY=", "BATCH=", "curl ")) == {"ok": True, "accepted": 1}


@needs_grpcurl
def test_the_grpcurl_line_of_the_banner_works(announced: Announced) -> None:
    assert json.loads(paste(announced.banner, "KEY=", "BATCH=", "grpcurl ")) == {"ok": True, "accepted": 1}


def test_the_psql_line_of_the_banner_shows_the_rows(announced: Announced) -> None:
    server = announced.server
    now = datetime.now(UTC).isoformat()
    assert server.post(make_batch(server.project_id, host="psql.example.com", timestamp=now)).status == 202
    (line,) = [line for line in announced.banner if " psql " in line]
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=60)
    assert "psql.example.com" in done.stdout


@needs_curl
def test_the_data_folder_may_have_an_unusual_name(data_folder: Path) -> None:
    with serve_on_terminal(data_folder / "it's my 100 %, & more") as announced:
        server = announced.server
        assert json.loads(paste(announced.banner, "KEY=", "BATCH=", "curl ")) == {"ok": True, "accepted": 1}
        assert len(server.rows("trace-001")) == 1
        assert server.stop() == 0


def paste(banner: list[str], *starts: str) -> str:
    """Run the lines of the banner that start so, as somebody does who pastes them, and return their output."""
    lines = [line for line in banner if line.startswith(starts)]
    assert len(lines) == len(starts)
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout
