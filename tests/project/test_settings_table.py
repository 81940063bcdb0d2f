"""The table of settings in docs/settings.md says what the code does."""

import re

import pytest

from server.cli.options import describe_default
from server.settings import Settings, environment_name
from tests.project.repository import ROOT

CELL_BORDER = re.compile(r"(?<!\\)\|")


@pytest.fixture(scope="module")
def table() -> dict[str, list[str]]:
    """The cells of each row after its variable, without backticks."""
    rows: dict[str, list[str]] = {}
    for line in (ROOT / "docs/settings.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `SEESTACK_"):
            name, *cells = [cell.strip() for cell in CELL_BORDER.split(line.strip().strip("|"))]
            assert name not in rows, f"{name} stands there twice"
            rows[name.strip("`")] = [cell.replace("`", "").replace("\\|", "|") for cell in cells]
    return rows


def test_the_table_holds_exactly_the_settings(table: dict[str, list[str]]) -> None:
    assert list(table) == [environment_name(name) for name in Settings.model_fields]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_row_tells_flag_default_and_meaning(table: dict[str, list[str]], name: str) -> None:
    flag, default, meaning = table[environment_name(name)]
    assert flag == f"--{name.replace('_', '-')}"
    assert meaning
    if name == "data_dir":
        assert default
    else:
        assert default == (describe_default(name) or "-")
