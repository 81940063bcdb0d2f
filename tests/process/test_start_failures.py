"""A server that cannot start says why in one line, and leaves nothing running."""

import os
import socket
from pathlib import Path

import pytest

from tests.cli.failing import fail_command
from tests.cli.ports import closed_port, listening_port
from tests.process.embedded import new_folder, postmaster_pid
from tests.running_server import FREE_PORTS

SETTINGS_EXIT_CODE = 2


@pytest.mark.parametrize("protocol", ["http", "grpc", "metrics"])
@pytest.mark.parametrize("options", [(), (socket.SO_REUSEPORT,)], ids=["", "reuseport"])
def test_a_taken_port(protocol: str, options: tuple[int, ...], data_folder: Path) -> None:
    folder = new_folder(data_folder)
    with listening_port(*options) as port:
        flags = (*FREE_PORTS, f"--{protocol}-port", str(port))
        failure = fail_command("serve", "--data-dir", str(folder), *flags)
    assert failure.exit_code == 1
    assert f"127.0.0.1:{port}" in failure.line
    assert f"choose another with SEESTACK_{protocol.upper()}_PORT (--{protocol}-port)" in failure.line
    assert postmaster_pid(folder) is None


def test_an_unreachable_database() -> None:
    with closed_port() as port:
        failure = fail_command("serve", *FREE_PORTS, database_url=f"postgresql://me:hidden@127.0.0.1:{port}/db")
    assert failure.exit_code == 1
    assert "cannot connect to the database" in failure.line
    assert str(port) in failure.line
    assert "hidden" not in failure.line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http-port", "70000"),
        ("contract", "loose"),
        ("grace-seconds", "soon"),
    ],
)
def test_a_bad_setting(name: str, value: str) -> None:
    variable = "SEESTACK_" + name.upper().replace("-", "_")
    by_flag = fail_command("serve", f"--{name}", value)
    assert by_flag.exit_code == SETTINGS_EXIT_CODE
    for part in (variable, f"--{name}", value):
        assert part in by_flag.line
    assert fail_command("serve", environment={variable: value}) == by_flag


@pytest.mark.parametrize("below", ["", "below"])
def test_a_data_folder_that_is_a_file(below: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    failure = fail_command("serve", "--data-dir", str(file / below), *FREE_PORTS)
    assert failure.exit_code == 1
    assert str(file) in failure.line


def test_an_unwritable_data_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    # Root may write nearly everywhere.
    parent = tmp_path if os.geteuid() else Path("/sys")
    failure = fail_command("serve", "--data-dir", str(parent / "data"), *FREE_PORTS)
    assert failure.exit_code == 1
    assert str(parent) in failure.line


def test_an_address_of_another_machine() -> None:
    failure = fail_command("serve", "--http-host", "192.0.2.1", *FREE_PORTS)
    assert failure.exit_code == 1
    assert "192.0.2.1" in failure.line
    assert "choose another with SEESTACK_HTTP_HOST (--http-host)" in failure.line
