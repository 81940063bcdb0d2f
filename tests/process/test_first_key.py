"""The credentials file holds the first keys for as long as they are valid."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from server.access.credentials import Credentials, read_credentials, write_credentials
from server.database.first_key import ensure_first_keys
from storage.database import connect
from storage.keys.api_keys import find_raw_key
from tests.batches import make_batch
from tests.patience import PATIENCE_S
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
    flags = ("--query-workers", "1")
    with open_terminal() as terminal, launch(folder, *flags, stdout=terminal.descriptor) as launched:
        port, _ = wait_for_ports(launched.process, launched.log)
        lines = terminal.read_lines(last)
        (link,) = (line.removeprefix("pages").strip() for line in lines if line.startswith("pages "))
        assert log_in_by(link, port) == (303, 401)
        return "\n".join(lines), launched.log.read_text()


def log_in_by(link: str, port: int) -> tuple[int, int]:
    """Return the statuses of following a link, pasted as it is, twice."""
    statuses = []
    for _ in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("GET", link.removeprefix(f"http://127.0.0.1:{port}"))
        statuses.append(connection.getresponse().status)
        connection.close()
    return statuses[0], statuses[1]


@pytest.mark.one_postgres("the embedded Postgres")
def test_rotating_the_key_in_the_file_brings_the_file_up_to_date(running: RunningServer, folder: Path) -> None:
    said = run_keys(folder, "rotate", running.api_key[:PREFIX_LENGTH], "--overlap-hours", "0")
    credentials = read_credentials(folder)
    assert credentials is not None
    raw_key = credentials.api_key
    assert credentials.project_id == running.project_id
    assert raw_key is not None
    assert raw_key != running.api_key
    assert raw_key in said
    assert str(folder / "credentials.json") in said
    assert (folder / "credentials.json").stat().st_mode & 0o777 == 0o600
    running.api_key = raw_key
    assert running.post(make_batch(running.project_id)).status == 202
    banner, log = start_again(running, folder, last=" psql ")
    assert "curl" in banner
    assert "no longer valid" not in banner + log


@pytest.mark.one_postgres("the embedded Postgres")
def test_revoking_the_keys_in_the_file_removes_it_in_the_end(running: RunningServer, folder: Path) -> None:
    said = run_keys(folder, "revoke", running.api_key[:PREFIX_LENGTH])
    assert str(folder / "credentials.json") in said
    credentials = read_credentials(folder)
    assert credentials is not None
    assert credentials.api_key is None
    assert isinstance(credentials.read_key, str)
    run_keys(folder, "revoke", credentials.read_key[:PREFIX_LENGTH])
    assert not (folder / "credentials.json").exists()
    banner, _ = start_again(running, folder, last=" keys create --project")
    assert "curl" not in banner


@pytest.mark.one_postgres("the embedded Postgres")
def test_another_key_leaves_the_file_alone(running: RunningServer, folder: Path) -> None:
    before = (folder / "credentials.json").read_bytes()
    other = json.loads(run_keys(folder, "create", "--project", "default", "--json"))
    successor = json.loads(run_keys(folder, "rotate", other["keyId"], "--json"))
    run_keys(folder, "revoke", successor["keyId"])
    assert (folder / "credentials.json").read_bytes() == before


@pytest.mark.one_postgres("the embedded Postgres")
def test_a_key_that_died_otherwise_is_not_offered(running: RunningServer, folder: Path) -> None:
    with connect(running.database_url) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now()")
    banner, log = start_again(running, folder, last=" keys create --project")
    for said in (banner, log):
        assert f"{folder / 'credentials.json'} is no longer valid" in said
    assert "curl" not in banner


def test_a_file_of_an_earlier_version_gets_a_key_to_read_once(database_url: str, tmp_path: Path) -> None:
    with connect(database_url) as connection:

        def start() -> Credentials:
            ensure_first_keys(connection, tmp_path)
            credentials = read_credentials(tmp_path)
            assert credentials is not None
            return credentials

        first = start()
        assert scopes_of(connection, first) == {"api_key": "ingest", "read_key": "read"}
        write_credentials(tmp_path, Credentials(first.project_id, first.api_key))
        upgraded = start()
        assert scopes_of(connection, upgraded) == {"api_key": "ingest", "read_key": "read"}
        assert upgraded.read_key != first.read_key
        assert start() == upgraded
        revoked = Credentials(first.project_id, first.api_key, None)
        write_credentials(tmp_path, revoked)
        assert start() == revoked


def scopes_of(connection: psycopg.Connection, credentials: Credentials) -> dict[str, str]:
    found = {name: find_raw_key(connection, raw_key) for name, raw_key in credentials.raw_keys.items()}
    return {name: key.scope for name, key in found.items() if key is not None}
