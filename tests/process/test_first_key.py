"""The credentials file holds the first key for as long as that is valid."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database.first_key import read_credentials
from storage.database import connect
from tests.batches import make_batch
from tests.process.embedded import launch, new_folder, serve_embedded
from tests.process.terminal import open_terminal
from tests.running_server import RunningServer, run_command, wait_for_ports

PREFIX_LENGTH = 20


@pytest.fixture
def folder(data_folder: Path) -> Path:
    return new_folder(data_folder)


@pytest.fixture
def running(folder: Path) -> Iterator[RunningServer]:
    with serve_embedded(folder) as server:
        yield server


def run_keys(folder: Path, *arguments: str) -> str:
    return run_command("keys", *arguments, "--data-dir", str(folder)).stdout


def start_again(running: RunningServer, folder: Path, *, last: str) -> tuple[str, str]:
    """Return the banner of the next start, of which `last` is the last line, and the log."""
    running.stop()
    with open_terminal() as terminal, launch(folder, stdout=terminal.descriptor) as launched:
        wait_for_ports(launched.process, launched.log)
        return "\n".join(terminal.read_lines(last)), launched.log.read_text()


def test_rotating_the_key_in_the_file_brings_the_file_up_to_date(running: RunningServer, folder: Path) -> None:
    said = run_keys(folder, "rotate", running.api_key[:PREFIX_LENGTH], "--overlap-hours", "0")
    credentials = read_credentials(folder)
    assert credentials is not None
    project_id, raw_key = credentials
    assert project_id == running.project_id
    assert raw_key != running.api_key
    assert raw_key in said
    assert str(folder / "credentials.json") in said
    assert (folder / "credentials.json").stat().st_mode & 0o777 == 0o600
    running.api_key = raw_key
    assert running.post(make_batch(project_id)).status == 202
    banner, log = start_again(running, folder, last=" psql ")
    assert "curl" in banner
    assert "no longer valid" not in banner + log


def test_revoking_the_key_in_the_file_removes_the_file(running: RunningServer, folder: Path) -> None:
    said = run_keys(folder, "revoke", running.api_key[:PREFIX_LENGTH])
    assert str(folder / "credentials.json") in said
    assert not (folder / "credentials.json").exists()
    banner, _ = start_again(running, folder, last=" keys create --project")
    assert "curl" not in banner


def test_another_key_leaves_the_file_alone(running: RunningServer, folder: Path) -> None:
    before = (folder / "credentials.json").read_bytes()
    other = json.loads(run_keys(folder, "create", "--project", "default", "--json"))
    successor = json.loads(run_keys(folder, "rotate", other["keyId"], "--json"))
    run_keys(folder, "revoke", successor["keyId"])
    assert (folder / "credentials.json").read_bytes() == before


def test_a_key_that_died_otherwise_is_not_offered(running: RunningServer, folder: Path) -> None:
    with connect(running.database_url) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now()")
    banner, log = start_again(running, folder, last=" keys create --project")
    for said in (banner, log):
        assert f"{folder / 'credentials.json'} is no longer valid" in said
    assert "curl" not in banner
