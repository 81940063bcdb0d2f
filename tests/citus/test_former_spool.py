"""A spool of version 1 is drained into a database that Citus distributes, each batch once."""

from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from storage.spool.spool import Spool
from storage.spool.version_1_rows import in_present_form
from storage.writing.row_encoding import project_of
from tests.citus.cluster import Cluster
from tests.running_server import run_command
from tests.storage.spool.version_1 import ROWS, create_its_project, lay_down

SPACIOUS = 2**30
STORED = "SELECT trace_id, count(*)::int FROM http_requests GROUP BY trace_id"
STORE = """
INSERT INTO http_request_rows
       (id, project, "timestamp", status_code, is_inbound, trace_is_dashed, method, host, path, other_trace)
VALUES (%(id)s, %(project)s, %(timestamp)s, 200, true, false, 'GET', 'host', '/', %(trace_id)s)
"""


@pytest.fixture
def folder(citus: Cluster, tmp_path: Path, database_url: str) -> Path:
    """The data folder with the spool, whose project is in the database."""
    lay_down(tmp_path)
    with psycopg.connect(database_url, autocommit=True) as connection:
        create_its_project(connection, tmp_path)
    return tmp_path


def drain(folder: Path, database_url: str) -> None:
    run_command("spool", "drain", "--data-dir", str(folder), database_url=database_url)


def test_what_version_1_acknowledged_is_stored_once(folder: Path, database_url: str) -> None:
    with (
        closing(Spool(folder, max_bytes=SPACIOUS)) as spool,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        (project,) = connection.execute("SELECT number FROM projects").fetchone() or (0,)
        (stored,) = (each.batch for each in spool.oldest(SPACIOUS) if b"doubt-stored" in each.batch.data)
        for row in stored.form.decode(stored.data):
            connection.execute(STORE, {**row, "project": project})
        drain(folder, database_url)
        assert dict(connection.execute(STORED).fetchall()) == ROWS
        assert connection.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (1,)
        assert connection.execute("SELECT count(DISTINCT id) FROM http_request_rows").fetchone() == (
            sum(ROWS.values()),
        )
        assert (spool.status().batches, spool.status().refused) == (0, 1)


def test_what_cannot_be_stored_is_set_aside_with_the_reason(folder: Path, database_url: str) -> None:
    run_command("spool", "retry", "--all", "--data-dir", str(folder))
    drain(folder, database_url)
    listed = run_command("spool", "list", "--data-dir", str(folder), "--json").stdout
    assert "there is no direction 'sideways'" in listed


def test_rows_have_the_values_and_ids_that_they_had(tmp_path: Path) -> None:
    lay_down(tmp_path)
    with closing(Spool(tmp_path, max_bytes=SPACIOUS)) as spool:
        former = spool.oldest(SPACIOUS)[0].batch
    (before, *_) = former.form.decode(former.data)
    batch = in_present_form(former, {before["project_id"]: 7})  # type: ignore[dict-item]
    (row, *_) = batch.form.decode(batch.data)
    assert project_of(batch) == row["project"] == 7
    names = ("id", "timestamp", "duration_ms", "request_size", "status_code", "method", "host", "path", "user_id")
    assert {name: row[name] for name in names} == {name: before[name] for name in names}
    assert (row["other_trace"], row["is_inbound"]) == (before["trace_id"], before["direction"] == "inbound")
    with pytest.raises(ValueError, match=f"no project {before['project_id']}"):
        in_present_form(former, {})
