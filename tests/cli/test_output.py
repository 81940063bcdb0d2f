"""What commands print for people."""

import pytest

from server.cli.output import print_table

ROWS = [{"id": "5ed9b605-21a9-4838-b6cd-d3c1b450ed18", "name": name, "made": "2026-11-27", "by": "x"} for name in "ab"]


@pytest.mark.parametrize(("columns", "lines"), [(100, 1), (50, 4)])
def test_a_table_too_wide_for_its_terminal_is_a_line_for_each_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, lines: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(ROWS, empty="")
    of_a = capsys.readouterr().out.split(ROWS[0]["id"])[1]
    assert len([line for line in of_a.splitlines() if line.strip()]) == lines
