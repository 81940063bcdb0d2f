"""Limits of keys on the command line."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from server.cli import main
from tests.running_server import run_command

PROJECT = "shop"


@pytest.fixture(scope="module")
def shop_url(create_database: Callable[[], str]) -> str:
    """A database with a project."""
    database_url = create_database()
    run_command("projects", "create", PROJECT, database_url=database_url)
    return database_url


def run_json(database_url: str, *arguments: str) -> Any:
    return json.loads(run_command("keys", *arguments, "--json", database_url=database_url).stdout)


def limits_of(key: dict[str, Any]) -> tuple[Any, Any]:
    return key["requestsLimit"], key["rowsLimit"]


def test_limits_are_set_shown_changed_and_removed(shop_url: str) -> None:
    key_id = run_json(shop_url, "create", "--project", PROJECT)["keyId"]
    limited = run_json(shop_url, "limit", key_id, "--requests-per-second", "2.5", "--requests-burst", "7")
    assert limits_of(limited) == ({"perSecond": 2.5, "burst": 7}, None)
    assert "apiKey" not in limited
    # A limit that is not named stays.
    said = run_command("keys", "limit", key_id, "--rows-per-second", "1500", database_url=shop_url).stdout
    assert "requests 2.5/s, burst 7; rows 1500/s, burst 1500" in said
    (listed,) = run_json(shop_url, "list")
    assert limits_of(listed) == ({"perSecond": 2.5, "burst": 7}, {"perSecond": 1500.0, "burst": 1500})
    assert "2.5/s, burst 7" in run_command("keys", "list", database_url=shop_url).stdout
    assert limits_of(run_json(shop_url, "rotate", key_id)) == limits_of(listed)
    assert limits_of(run_json(shop_url, "limit", key_id, "--off")) == (None, None)


def test_a_key_may_be_limited_from_its_first_request(shop_url: str) -> None:
    flags = ("--requests-per-second", "0.1", "--rows-per-second", "30")
    made = run_json(shop_url, "create", "--project", PROJECT, *flags)
    # A burst lets through one request, and a batch of the most rows there may be.
    assert limits_of(made) == ({"perSecond": 0.1, "burst": 1}, {"perSecond": 30.0, "burst": 100})


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ((), "give --requests-per-second"),
        (("--off", "--rows-per-second", "1"), "--off alone"),
        (("--requests-burst", "5"), "--requests-burst goes with requests a second"),
        (("--requests-per-second", "0"), "0.001<=x"),
        (("--rows-per-second", "1", "--rows-burst", "0"), "1<=x"),
        (("--rows-per-second", "1", "--rows-burst", "1.5"), "not a valid integer"),
    ],
)
def test_flags_that_make_no_sense_are_explained(flags: tuple[str, ...], reason: str) -> None:
    result = CliRunner().invoke(main, ["keys", "limit", "seestack_live_abcdef", *flags])
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())
