"""`backup` and `restore`: all of a database, while a server is at work, into an empty one, or nothing of it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from storage import backup
from storage.backup import write_backup
from storage.database import connect
from storage.errors import BackupError
from tests.batches import make_batch
from tests.cli.failing import fail_command
from tests.process.embedded import new_folder, serve_embedded
from tests.process.own_postgres import start_own_postgres
from tests.running_server import create_key, run_command, start_server

pytestmark = pytest.mark.one_postgres("nodes are backed up by means of their own")

OTHER_DAY = "2026-03-31T12:00:00.000Z"
IDEMPOTENCY_KEY = "a-key-of-the-client"

_CONTENT = {
    "rows by partition": "SELECT tableoid::regclass::text, h.* FROM http_request_rows h ORDER BY id",
    "projects": "SELECT * FROM projects ORDER BY id",
    "keys": "SELECT * FROM api_keys ORDER BY id",
    "claims": "SELECT * FROM idempotency_keys ORDER BY 1, 2",
    "identity": "SELECT * FROM database_identity",
    "schema": "SELECT * FROM schema_migrations ORDER BY version",
    "tables": "SELECT relid::regclass::text FROM pg_partition_tree('http_request_rows') ORDER BY 1",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "constraints": "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2",
}


@dataclass(frozen=True)
class Original:
    """A backup, and what was in the database when it was made."""

    file: Path
    content: dict[str, list[Any]]
    key: tuple[str, str]
    credentials: Path
    batch: dict[str, Any]


def content_of(url: str) -> dict[str, list[Any]]:
    with connect(url) as connection:
        return {name: connection.execute(query.encode()).fetchall() for name, query in _CONTENT.items()}


@pytest.fixture(scope="module")
def original(data_folder: Path) -> Iterator[Original]:
    """Made while a server was at work on its embedded database."""
    folder, file = new_folder(data_folder), data_folder / "backups" / "original.dump"
    file.parent.mkdir(mode=0o700)
    with serve_embedded(folder) as server:
        today = datetime.now(UTC).isoformat()
        batch = make_batch(server.project_id, 3, traceId="claimed", timestamp=today)
        assert server.post(batch, Idempotency_Key=IDEMPOTENCY_KEY).status == 202
        assert server.post(make_batch(server.project_id, 2, traceId="other day", timestamp=OTHER_DAY)).status == 202
        key = (server.project_id, server.api_key)
        limit = ("keys", "limit", server.api_key[:20], "--rows-per-second", "5000")
        run_command(*limit, "--data-dir", str(folder))
        said = run_command("backup", str(file), "--data-dir", str(folder)).stdout
        assert str(file) in said
        yield Original(file, content_of(server.database_url), key, folder / "credentials.json", batch)


def test_only_the_owner_can_read_a_backup(original: Original) -> None:
    assert original.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in original.file.parent.iterdir()] == [original.file.name]


def test_a_backup_goes_into_a_data_folder_that_does_not_exist_yet(original: Original, data_folder: Path) -> None:
    folder = new_folder(data_folder)
    run_command("restore", str(original.file), "--data-dir", str(folder))
    run_command("keys", "list", "--data-dir", str(folder))
    again = data_folder / "again.dump"
    run_command("backup", str(again), "--data-dir", str(folder))
    failure = fail_command("restore", str(again), "--data-dir", str(folder))
    assert "not empty" in failure.line
    shutil.copy(original.credentials, folder)
    with serve_embedded(folder) as server:
        restored = content_of(server.database_url)
        assert {name: restored[name] for name in original.content if name != "keys"} == {
            name: rows for name, rows in original.content.items() if name != "keys"
        }
        # The same key, the same claims, and rows go on where they were.
        assert server.post(original.batch, Idempotency_Key=IDEMPOTENCY_KEY).status == 202
        assert len(server.rows("claimed")) == 3
        assert server.post(make_batch(server.project_id, traceId="new", timestamp=OTHER_DAY)).status == 202
        assert len(server.rows("new")) == 1


def test_a_backup_goes_into_an_empty_database_of_ones_own(original: Original, empty_database_url: str) -> None:
    run_command("restore", str(original.file), database_url=empty_database_url)
    assert content_of(empty_database_url) == original.content
    with start_server(empty_database_url, key=original.key) as server:
        assert server.post(make_batch(server.project_id, traceId="new")).status == 202


def test_a_database_that_is_not_empty_stays_as_it_is(original: Original, empty_database_url: str) -> None:
    with connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE something_else (number integer)")
    failure = fail_command("restore", str(original.file), database_url=empty_database_url)
    assert failure.exit_code == 1
    assert "--data-dir" in failure.line
    with connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('projects')").fetchone() == (None,)


def test_a_broken_backup_changes_nothing(original: Original, empty_database_url: str, tmp_path: Path) -> None:
    whole = original.file.read_bytes()
    broken = tmp_path / "broken.dump"
    for kept in (0, 100, len(whole) * 9 // 10):
        broken.write_bytes(whole[:kept])
        assert fail_command("restore", str(broken), database_url=empty_database_url).exit_code == 1
        with connect(empty_database_url) as connection:
            assert connection.execute("SELECT to_regclass('projects')").fetchone() == (None,)
    run_command("restore", str(original.file), database_url=empty_database_url)


def test_a_file_that_is_no_backup_makes_no_database(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    failure = fail_command("restore", __file__, "--data-dir", str(folder))
    assert __file__ in failure.line
    missing = fail_command("restore", str(folder / "nothing"), "--data-dir", str(folder))
    assert str(folder / "nothing") in missing.line
    assert not folder.exists()


def test_a_backup_that_cannot_be_written_leaves_the_one_before(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "kept.dump"
    file.write_bytes(b"kept")
    create_key(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE ROLE stranger LOGIN")
        connection.commit()
        stranger = database_url.replace("postgres@", "stranger@")
        failure = fail_command("backup", str(file), database_url=stranger)
        connection.execute("DROP ROLE stranger")
    assert "permission denied" in failure.line
    assert file.read_bytes() == b"kept"
    assert list(tmp_path.iterdir()) == [file]


def test_a_server_newer_than_the_tools_is_told_from_one_that_is_not(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "POSTGRES_MAJOR", 17)
    with pytest.raises(BackupError, match=r"Postgres 18.*pg_dump.* 17"):
        write_backup(database_url, tmp_path / "file")


def test_it_works_with_the_oldest_postgres_over_tls(original: Original, data_folder: Path, tmp_path: Path) -> None:
    with start_own_postgres(data_folder) as own:
        url = own.create_database()
        run_command("restore", str(original.file), database_url=url)
        assert content_of(url)["rows by partition"] == original.content["rows by partition"]
        file = tmp_path / "own.dump"
        run_command("backup", str(file), database_url=url)
        empty = own.create_database()
        run_command("restore", str(file), database_url=empty)
        assert content_of(empty) == content_of(url)
        over_tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert run_command("psql", "-Atc", over_tls, database_url=url).stdout == "t\n"
