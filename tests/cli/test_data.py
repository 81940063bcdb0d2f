"""`seestack-ingest data`, and deleting projects."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from server.cli import main
from server.database.setup import prepare_schema
from storage.database import connect
from storage.keys.api_keys import create_key
from storage.keys.projects import create_project
from tests.cli.failing import fail_command
from tests.running_server import run_command
from tests.storage.rows import insert_row
from tests.storage.test_retention import set_rollup_mark

NOW = datetime.now(UTC)


@pytest.fixture
def filled_url(database_url: str) -> str:
    """A database with a project that has a key and rows of today, of five days ago and of 1999, and another project."""
    with connect(database_url) as connection:
        prepare_schema(connection)
        set_rollup_mark(connection)
        shop = create_project(connection, "shop")
        create_project(connection, "empty")
        create_key(connection, shop.id, "key")
        for moment in (NOW, NOW - timedelta(days=5), "1999-01-01"):
            insert_row(connection, moment)
        connection.execute("UPDATE http_request_rows SET project = %s", (shop.number,))
    return database_url


def run(url: str, *arguments: str) -> Any:
    return json.loads(run_command(*arguments, "--json", database_url=url).stdout)


def rows_of(usage: Any) -> dict[str, int]:
    return {project["project"]: project["rows"] for project in usage["projects"]}


@pytest.mark.one_postgres("rows that the test moves to another project; see tests/citus")
def test_usage_is_told_by_day_and_by_project(filled_url: str) -> None:
    usage = run(filled_url, "data", "usage")
    assert usage["rows"] == 3
    assert rows_of(usage) == {"shop": 3, "empty": 0}
    assert {day["day"] for day in usage["days"] if day["rows"]} == {
        f"{NOW.date()}", f"{NOW.date() - timedelta(days=5)}", "other days"
    }  # fmt: skip
    assert usage["bytes"] == sum(day["bytes"] for day in usage["days"]) > 0
    assert usage["projects"][0]["approximateBytes"] > 0
    assert "shop" in run_command("data", "usage", database_url=filled_url).stdout


@pytest.mark.one_postgres("rows that the test moves to another project; see tests/citus")
def test_prune_shows_first_and_deletes_when_told(filled_url: str) -> None:
    shown = run(filled_url, "data", "prune", "--older-than", "3d")
    assert not shown["deleted"]
    assert sum(each["rows"] for each in shown["partitions"]) == 2
    assert run(filled_url, "data", "usage")["rows"] == 3
    assert "--yes" in run_command("data", "prune", "--older-than", "3d", database_url=filled_url).stdout
    assert run(filled_url, "data", "prune", "--older-than", "3d", "--yes")["partitions"] == shown["partitions"]
    assert rows_of(run(filled_url, "data", "usage")) == {"shop": 1, "empty": 0}
    assert run(filled_url, "data", "prune", "--older-than", "3d")["partitions"] == []


@pytest.mark.parametrize("days", ["30", "0d", "-1d", "3h"])
def test_a_wrong_number_of_days_is_told(days: str) -> None:
    result = CliRunner().invoke(main, ["data", "prune", "--older-than", days])
    assert result.exit_code == 2
    assert "e.g. 30d" in result.output


@pytest.mark.one_postgres("rows that the test moves to another project; see tests/citus")
def test_a_project_is_deleted_only_when_told(filled_url: str) -> None:
    failure = fail_command("projects", "delete", "shop", database_url=filled_url)
    assert failure.exit_code == 1
    assert "1 keys and 3 rows" in failure.line
    assert "--yes" in failure.line
    deleted = run(filled_url, "projects", "delete", "shop", "--yes")
    assert (deleted["name"], deleted["keys"], deleted["rows"]) == ("shop", 1, 3)
    assert rows_of(run(filled_url, "data", "usage")) == {"empty": 0}
    assert run(filled_url, "keys", "list") == []
    assert fail_command("projects", "delete", "shop", "--yes", database_url=filled_url).exit_code == 1
