"""`seestack-ingest spool`: whose the batches are that wait, and what becomes of refused ones."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from storage.spool.folders import assign_folder
from tests.cli.failing import fail_command
from tests.commands import complete_command
from tests.running_server import RunningServer, create_key, run_command
from tests.storage.spool.version_1 import ROWS, create_its_project, lay_down

STORED = "SELECT trace_id, count(*)::int FROM http_requests GROUP BY trace_id"


def run_json(*arguments: str) -> Any:
    return json.loads(run_command("spool", *arguments, "--json").stdout)


def export(folder: Path, *ids: str) -> list[Any]:
    lines = run_command("spool", "export", *ids, "--data-dir", str(folder)).stdout.splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.one_postgres(
    "batches of version 1 are brought into the form of now there, which knows two directions, see tests/citus"
)
def test_a_refused_batch_can_be_mended_by_the_database_and_stored(database_url: str, tmp_path: Path) -> None:
    """A spool of the version before, whose refused batch has a direction that the database learns later."""
    create_key(database_url)
    lay_down(tmp_path)
    folder = ("--data-dir", str(tmp_path))
    (listed,) = run_json("list", *folder)
    assert listed["rows"] == 2
    assert "sideways" in listed["reason"]
    assert "would be tried again" in run_command("spool", "retry", "--all", "--dry-run", *folder).stdout
    assert run_json("status", *folder)[0]["refused"] == 1
    with psycopg.connect(database_url, autocommit=True) as connection:
        create_its_project(connection, tmp_path)
        connection.execute("ALTER TYPE request_direction ADD VALUE 'sideways'")
        retried = run_command("spool", "retry", listed["id"], *folder)
        assert "in the spool again" in retried.stdout
        assert "spool drain" in retried.stdout
        run_command("spool", "drain", *folder, database_url=database_url)
        # The batch that one backend may have stored is not in this database.
        assert dict(connection.execute(STORED).fetchall()) == {**ROWS, "refused": 2}
    (status,) = run_json("status", *folder)
    assert (status["batches"], status["refused"]) == (0, 0)
    assert status["databaseId"]


def test_an_exported_batch_can_be_put_right_and_sent_again(server: RunningServer, tmp_path: Path) -> None:
    lay_down(tmp_path)
    (batch,) = export(tmp_path)
    (listed,) = run_json("list", "--data-dir", str(tmp_path))
    assert batch["refused"]["id"] == listed["id"]
    assert [item["direction"] for item in batch["requests"]] == ["sideways"] * 2
    assert batch["requests"][0]["timestamp"] == "2026-03-31T12:00:00Z"
    assert server.post(batch | {"projectId": server.project_id}).status == 422
    for item in batch["requests"]:
        item["direction"] = "outbound"
    assert server.post(batch | {"projectId": server.project_id}).status == 202
    rows = server.rows("refused")
    assert [(row["direction"], row["user_id"], row["duration_ms"]) for row in rows] == [("outbound", "u-1", 42)] * 2
    run_command("spool", "discard", listed["id"], "--data-dir", str(tmp_path))
    assert export(tmp_path) == []


def test_what_is_asked_of_unknown_batches_is_explained(tmp_path: Path) -> None:
    lay_down(tmp_path)
    failure = fail_command("spool", "retry", "99", "--data-dir", str(tmp_path))
    assert "no refused batch has the id 99" in failure.line
    for arguments in (["retry"], ["retry", "--all", "1"], ["discard"]):
        done = complete_command("spool", *arguments, "--data-dir", str(tmp_path))
        assert done.returncode == 2
        assert "name the ids" in done.stderr


def test_a_drain_leaves_the_spool_of_another_database_alone(database_url: str, tmp_path: Path) -> None:
    create_key(database_url)
    lay_down(tmp_path)
    elsewhere = uuid4()
    assign_folder(tmp_path, elsewhere, "elsewhere:5432/a")
    done = run_command("spool", "drain", "--data-dir", str(tmp_path), database_url=database_url)
    assert "no spool" in done.stdout
    (status,) = run_json("status", "--data-dir", str(tmp_path))
    assert (status["databaseId"], status["location"]) == (str(elsewhere), "elsewhere:5432/a")
    assert status["batches"] == len(ROWS)
