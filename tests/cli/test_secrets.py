"""A database URL that is wrong is explained without a word of the password in it."""

import pytest

from tests.commands import complete_command
from tests.running_server import FREE_PORTS

# Each is no URL to libpq, whose own messages quote the part that it stumbles over, or all of it.
BROKEN_URLS = [
    "postgresql://me:PART%zzHIDDEN@127.0.0.1:1/db",
    "postgresql://me:PART HIDDEN@127.0.0.1:1/db",
    "postgresql://me:PARTHIDDEN@[::1]x/db",
    "postgresql://me:PART@HIDDEN@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=me&password=PART%zzHIDDEN",
    "mysql://me:PARTHIDDEN@127.0.0.1/db",
]


@pytest.mark.parametrize("url", BROKEN_URLS)
def test_check_does_not_show_the_password_of_a_broken_url(url: str) -> None:
    assert_hidden("check", "--json", *FREE_PORTS, "--database-url", url)


def test_no_command_shows_the_password_of_a_broken_url() -> None:
    for command in (("migrate",), ("psql",), ("serve", *FREE_PORTS)):
        assert_hidden(*command, "--database-url", BROKEN_URLS[0])


def assert_hidden(*command: str) -> None:
    done = complete_command(*command)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "HIDDEN" not in done.stdout + done.stderr
    assert "PART" not in done.stdout + done.stderr
