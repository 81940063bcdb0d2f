"""A mistyped data folder makes no database."""

from pathlib import Path

import pytest

from tests.cli.failing import fail_command
from tests.process.embedded import new_folder
from tests.running_server import FREE_PORTS, run_command


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        ("keys", "list"),
        ("keys", "create", "--project", "shop"),
        ("keys", "rotate", "x"),
        ("projects", "create", "shop"),
        ("psql", "-c", "SELECT 1"),
        ("backup", "/nowhere/file"),
    ],
)
def test_a_command_says_that_there_is_no_database(command: tuple[str, ...], exists: bool, data_folder: Path) -> None:
    folder = new_folder(data_folder)
    if exists:
        folder.mkdir()
    failure = fail_command(*command, environment={"SEESTACK_DATA_DIR": str(folder)})
    assert failure.exit_code == 1
    for part in (str(folder), "--data-dir", "SEESTACK_DATA_DIR", "serve"):
        assert part in failure.line
    assert not folder.exists() or not list(folder.iterdir())


def test_check_says_that_serve_will_make_one(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    said = run_command("check", "--json", *FREE_PORTS, "--data-dir", str(folder)).stdout
    assert f"none yet in {folder}" in said
    assert not folder.exists()


@pytest.mark.one_postgres("the embedded database")
def test_migrate_makes_one(data_folder: Path) -> None:
    folder = new_folder(data_folder)
    run_command("migrate", "--data-dir", str(folder))
    assert "no keys yet" in run_command("keys", "list", "--data-dir", str(folder)).stdout
