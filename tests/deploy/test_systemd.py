"""The unit: systemd finds no fault with it, and knows it for well confined."""

import re
from pathlib import Path

from tests.deploy.files import DEPLOY, run_program

UNIT = DEPLOY / "systemd" / "seestack-ingest.service"
MOST_EXPOSED = 1.5  # of 10; what is left is mostly the network


def copy_of_unit(folder: Path) -> Path:
    """Return a unit whose program is here."""
    copy = folder / UNIT.name
    copy.write_text(re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8")))
    return copy


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    assert run_program("systemd-analyze", "verify", copy_of_unit(tmp_path)) == ""


def test_the_service_is_confined(tmp_path: Path) -> None:
    report = run_program("systemd-analyze", "security", "--offline=yes", "--no-pager", copy_of_unit(tmp_path))
    match = re.search(r"Overall exposure level for .*: ([0-9.]+)", report)
    assert match, report
    assert float(match[1]) <= MOST_EXPOSED


def test_the_user_of_the_unit_is_made() -> None:
    (user,) = re.findall("(?m)^User=(.*)", UNIT.read_text(encoding="utf-8"))
    sysusers = UNIT.with_name("seestack-ingest.sysusers.conf")
    assert f"u {user} " in sysusers.read_text(encoding="utf-8")
    assert f"Creating user '{user}'" in run_program("systemd-sysusers", "--dry-run", sysusers)
