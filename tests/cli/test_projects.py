"""`seestack-ingest projects`."""

import json
from uuid import UUID

import psycopg

from tests.cli.failing import fail_command
from tests.running_server import run_command


def test_a_created_project_is_listed(database_url: str) -> None:
    created = json.loads(run_command("projects", "create", "shop", "--json", database_url=database_url).stdout)
    assert set(created) == {"projectId", "name", "createdAt"}
    assert created["name"] == "shop"
    UUID(created["projectId"])
    assert json.loads(run_command("projects", "list", "--json", database_url=database_url).stdout) == [created]


def test_people_read_lines_and_tables(database_url: str) -> None:
    assert "no projects yet" in run_command("projects", "list", database_url=database_url).stdout
    created = run_command("projects", "create", "my shop", database_url=database_url).stdout
    assert created.startswith("created project my shop, ")
    project_id = created.split()[-1]
    listed = run_command("projects", "list", database_url=database_url).stdout
    (row,) = [line for line in listed.splitlines() if "my shop" in line]
    assert project_id in row


def test_a_database_without_the_schema_is_left_as_it_is(empty_database_url: str) -> None:
    failure = fail_command("projects", "list", database_url=empty_database_url)
    assert failure.exit_code == 1
    assert "seestack-ingest migrate" in failure.line
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('projects')").fetchone() == (None,)


def test_a_name_can_be_used_once(database_url: str) -> None:
    run_command("projects", "create", "shop", database_url=database_url)
    failure = fail_command("projects", "create", "shop", database_url=database_url)
    assert failure.exit_code == 1
    assert "'shop' already" in failure.line
    assert len(json.loads(run_command("projects", "list", "--json", database_url=database_url).stdout)) == 1
