"""`seestack-ingest keys`."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from server.cli import main
from storage.keys.api_keys import is_well_formed
from tests.cli.failing import fail_command
from tests.running_server import run_command

PROJECT = "shop"


@pytest.fixture(scope="module")
def shop_url(create_database: Callable[[], str]) -> str:
    """A database with a project and no keys but those that tests make."""
    database_url = create_database()
    run_command("projects", "create", PROJECT, database_url=database_url)
    return database_url


def test_a_created_key_is_shown_once_and_never_listed(shop_url: str) -> None:
    key = create(shop_url, "--name", "listed")
    assert is_well_formed(key["apiKey"])
    as_json = run_command("keys", "list", "--json", database_url=shop_url).stdout
    (listed,) = [other for other in json.loads(as_json) if other["name"] == "listed"]
    assert listed == {name: value for name, value in key.items() if name != "apiKey"}
    for_people = run_command("keys", "list", "--project", PROJECT, database_url=shop_url).stdout
    assert listed["keyId"] in for_people
    assert listed["prefix"] in for_people
    assert key["apiKey"] not in as_json + for_people
    # What is listed of it is too little to guess the rest from.
    assert len(listed["prefix"]) <= len("seestack_live_") + 6


def test_people_see_project_and_raw_key_of_a_created_key(shop_url: str) -> None:
    shown = run_command("keys", "create", "--project", PROJECT, database_url=shop_url).stdout
    words = shown.split()
    assert is_well_formed(words[words.index("key") + 1])
    (project,) = json.loads(run_command("projects", "list", "--json", database_url=shop_url).stdout)
    assert words[words.index("project") + 1] == project["projectId"]


def test_a_key_may_expire(shop_url: str) -> None:
    assert create(shop_url)["expiresAt"] is None
    key = create(shop_url, "--expires-in-days", "30")
    assert moment(key["expiresAt"]) - moment(key["createdAt"]) == timedelta(days=30)


def test_a_key_may_be_bound_to_origins(shop_url: str) -> None:
    assert create(shop_url)["origins"] is None
    key = create(shop_url, "--origin", "https://App.Example.com:443", "--origin", "http://localhost:3000")
    assert key["origins"] == ["https://app.example.com", "http://localhost:3000"]
    assert "http://localhost:3000" in run_command("keys", "list", database_url=shop_url).stdout


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://*.example.com", "null", ""])
def test_what_is_no_origin_is_refused(shop_url: str, origin: str) -> None:
    flags = ("--project", PROJECT, "--origin", origin, "--database-url", shop_url)
    result = CliRunner().invoke(main, ["keys", "create", *flags])
    assert result.exit_code == 2
    assert "e.g. https://app.example.com" in " ".join(result.stderr.split())


def test_a_key_to_read_says_so_and_its_successor_too(shop_url: str) -> None:
    assert create(shop_url)["scope"] == "ingest"
    key = create(shop_url, "--scope", "read")
    successor = json.loads(run_command("keys", "rotate", key["keyId"], "--json", database_url=shop_url).stdout)
    for made in (key, successor):
        assert made["scope"] == find(shop_url, made["keyId"])["scope"] == "read"


def test_a_revoked_key_is_marked_for_good(shop_url: str) -> None:
    key = create(shop_url)
    said = run_command("keys", "revoke", key["keyId"], database_url=shop_url).stdout
    assert key["prefix"] in said
    assert key["apiKey"] not in said
    by_prefix = run_command("keys", "revoke", key["prefix"], "--json", database_url=shop_url)
    again = json.loads(by_prefix.stdout)
    assert moment(again["revokedAt"]) >= moment(key["createdAt"])
    assert again["keyId"] == key["keyId"]
    assert "apiKey" not in again


def test_rotating_makes_a_successor_and_lets_the_old_key_expire(shop_url: str) -> None:
    old = create(shop_url, "--name", "rotated")
    rotate = ("keys", "rotate", old["keyId"], "--overlap-hours", "2", "--json")
    new = json.loads(run_command(*rotate, database_url=shop_url).stdout)
    assert is_well_formed(new["apiKey"])
    assert new["apiKey"] != old["apiKey"]
    assert (new["projectId"], new["name"], new["expiresAt"]) == (old["projectId"], "rotated", None)
    expires_at = moment(find(shop_url, old["keyId"])["expiresAt"])
    assert abs(moment(new["createdAt"]) + timedelta(hours=2) - expires_at) < timedelta(seconds=5)


def test_rotating_never_lengthens_a_life(shop_url: str) -> None:
    old = create(shop_url, "--expires-in-days", "0.01")
    shown = run_command("keys", "rotate", old["prefix"], database_url=shop_url).stdout
    assert old["apiKey"] not in shown
    assert find(shop_url, old["keyId"])["expiresAt"] == old["expiresAt"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--project", "nowhere"),
        ("list", "--project", "nowhere"),
        ("revoke", "nothing"),
        ("rotate", "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(arguments: tuple[str, ...], shop_url: str) -> None:
    failure = fail_command("keys", *arguments, database_url=shop_url)
    assert failure.exit_code == 1
    assert f"{arguments[-1]!r}" in failure.line


def create(database_url: str, *options: str) -> dict[str, Any]:
    made = run_command("keys", "create", "--project", PROJECT, "--json", *options, database_url=database_url)
    key: dict[str, Any] = json.loads(made.stdout)
    return key


def find(database_url: str, key_id: str) -> dict[str, Any]:
    listed = json.loads(run_command("keys", "list", "--json", database_url=database_url).stdout)
    (key,) = [key for key in listed if key["keyId"] == key_id]
    assert isinstance(key, dict)
    return key


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
