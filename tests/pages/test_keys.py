"""Projects and keys on the pages: who may see and change them, and that it is what the commands do."""

import re
import time
from uuid import UUID, uuid4

import pytest

from storage.database import connect
from storage.keys.api_keys import ApiKey, Scope, list_keys
from storage.keys.limits import KeyLimits, RateLimit
from storage.keys.projects import delete_project, find_project
from tests.pages.visitor import Visitor, token_in
from tests.patience import PATIENCE_S
from tests.running_server import Answer, RunningServer, create_key

NOT_FOUND = "/keys/0b0a65d2-a918-4201-862d-aa3630a6c4e6"
CHANGES = ["/keys", "/projects", "/project", f"{NOT_FOUND}/limits", f"{NOT_FOUND}/revoke"]
KEY = {"name": "made here", "scope": "read"}
WRONG_KEYS = [
    ({"name": " "}, "must not be blank"),
    ({"name": "a\0b"}, "must not contain NUL characters"),
    ({"days": "0"}, "must be more than 0 and at most 36500"),
    ({"days": "nan"}, "must be more than 0"),
    ({"days": "soon"}, "must be a number"),
    ({"origins": "example.com"}, "is not an origin"),
    ({"requests_per_second": "-1"}, "must be between 0.001 and 1e+06"),
    ({"rows_per_second": "inf"}, "must be between 0.001 and 1e+06"),
    ({"requests_burst": "5"}, "goes with requests a second"),
    ({"rows_per_second": "1", "rows_burst": "9" * 400}, "must be between 1 and 1000000"),
    ({"rows_per_second": "1", "rows_burst": "1.5"}, "must be a whole number"),
    ({"scope": "admin"}, "must be one of ingest, read"),
]


def keys_of(server: RunningServer, project_id: str | None = None) -> list[ApiKey]:
    with connect(server.database_url) as connection:
        return list_keys(connection, UUID(project_id or server.project_id))


def key_of(server: RunningServer, raw_key: str) -> ApiKey:
    (key,) = (key for key in keys_of(server) if raw_key.startswith(key.prefix))
    return key


def raw_key_in(page: Answer) -> str:
    found = re.search(r"data-raw-key>([^<]+)<", page.body.decode())
    assert found, page.body
    return found[1]


@pytest.fixture
def of_project(admin: Visitor) -> Visitor:
    """An administrator who has chosen the server's project."""
    fields = {"project_id": admin.server.project_id, "next": "/keys"}
    assert admin.submit("/keys", "/project", fields).headers["location"] == "/keys"
    return admin


@pytest.mark.parametrize("path", ["/keys", NOT_FOUND])
def test_only_an_administrator_sees_keys(visitor: Visitor, read_key: str, path: str) -> None:
    answer = visitor.get(path)
    assert (answer.status, answer.headers["location"]) == (303, f"/login?next={path.replace('/', '%2F')}")
    visitor.log_in(read_key)
    answer = visitor.get(path)
    assert answer.status == 403
    assert b"seestack_live_" not in answer.body


@pytest.mark.parametrize("path", CHANGES)
def test_only_an_administrator_changes_anything(reader: Visitor, path: str) -> None:
    before = len(keys_of(reader.server))
    fields = {**KEY, "project": "mine", "project_id": reader.server.project_id}
    assert reader.submit("/login", path, fields).status == 403
    stranger = Visitor(reader.server)
    assert stranger.submit("/login", path, fields).status == 303
    assert len(keys_of(reader.server)) == before


@pytest.mark.parametrize("path", CHANGES)
def test_a_change_without_its_token_is_refused(of_project: Visitor, path: str) -> None:
    foreign = token_in(Visitor(of_project.server).get("/login"))
    before = len(keys_of(of_project.server))
    for token in ("", foreign):
        fields = {**KEY, "project": "taken", "project_id": of_project.server.project_id, "csrf_token": token}
        assert of_project.post(path, fields).status == 403
    assert len(keys_of(of_project.server)) == before


def test_a_key_is_made_and_shown_once(of_project: Visitor) -> None:
    fields = {**KEY, "days": "30", "origins": "https://App.example.com:443", "requests_per_second": "50"}
    made = of_project.submit("/keys", "/keys", fields)
    raw_key = raw_key_in(made)
    assert made.headers["cache-control"] == "no-store"
    assert raw_key not in of_project.get("/keys").body.decode()
    key = key_of(of_project.server, raw_key)
    assert (key.name, key.scope, key.origins) == ("made here", Scope.READ, ["https://app.example.com"])
    assert key.expires_at is not None
    assert key.limits == KeyLimits(RateLimit(50.0, 50), None)
    assert raw_key not in of_project.server.log.read_text()


@pytest.mark.parametrize(("wrong", "problem"), WRONG_KEYS, ids=[problem for _, problem in WRONG_KEYS])
def test_a_wrong_value_is_named_and_what_was_typed_stays(
    of_project: Visitor, wrong: dict[str, str], problem: str
) -> None:
    before = len(keys_of(of_project.server))
    answer = of_project.submit("/keys", "/keys", {**KEY, "name": "kept", **wrong})
    assert answer.status == 422
    assert problem in answer.body.decode().replace("&#39;", "'")
    assert "name" in wrong or b'value="kept"' in answer.body
    assert len(keys_of(of_project.server)) == before


def test_limits_are_set_and_removed(of_project: Visitor) -> None:
    server = of_project.server
    _, raw_key = create_key(server.database_url, server.project_id)
    page = f"/keys/{key_of(server, raw_key).id}"
    limits = {"requests_per_second": "2.5", "requests_burst": "7", "rows_per_second": "1000000"}
    assert of_project.submit(page, f"{page}/limits", limits).headers["location"] == page
    assert key_of(server, raw_key).limits == KeyLimits(RateLimit(2.5, 7), RateLimit(1_000_000.0, 1_000_000))
    shown = of_project.get(page).body.decode()
    assert 'value="2.5"' in shown
    assert shown.count('value="1000000"') == 2
    assert of_project.submit(page, f"{page}/limits", {"rows_burst": "1"}).status == 422
    assert of_project.submit(page, f"{page}/limits", {}).status == 303
    assert key_of(server, raw_key).limits == KeyLimits()


def test_revoking_a_key_ends_the_session_that_began_with_it(of_project: Visitor) -> None:
    server = of_project.server
    _, raw_key = create_key(server.database_url, server.project_id, scope=Scope.READ)
    reader = Visitor(server)
    reader.log_in(raw_key)
    page = f"/keys/{key_of(server, raw_key).id}"
    assert of_project.submit(page, f"{page}/revoke", {}).status == 303
    assert key_of(server, raw_key).revoked_at is not None
    assert b"revoked" in of_project.get(page).body
    deadline = time.monotonic() + PATIENCE_S
    while (answer := reader.get("/")).status == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert len(reader.cookies) == 1  # that of a visitor
    assert Visitor(server).log_in(raw_key).status == 401


def test_a_key_of_another_project_is_not_there(of_project: Visitor) -> None:
    server = of_project.server
    project_id, _ = create_key(server.database_url)
    (key,) = keys_of(server, project_id)
    page = f"/keys/{key.id}"
    assert of_project.get(page).status == 404
    for change in ("limits", "revoke"):
        assert of_project.submit("/keys", f"{page}/{change}", {"rows_per_second": "1"}).status == 404
    (left,) = keys_of(server, project_id)
    assert (left.revoked_at, left.limits) == (None, KeyLimits())


def test_a_deleted_project_is_shown_no_more(admin: Visitor) -> None:
    server = admin.server
    project_id, _ = create_key(server.database_url)
    assert admin.submit("/keys", "/project", {"project_id": project_id, "next": "/live"}).status == 303
    assert admin.get("/live").status == 200
    with connect(server.database_url) as connection:
        delete_project(connection, find_project(connection, project_id))
    deadline = time.monotonic() + PATIENCE_S
    while (answer := admin.get("/live")).status == 200 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert (answer.status, answer.headers["location"]) == (303, "/keys")


def test_a_project_is_made_and_shown(admin: Visitor) -> None:
    name = f"<b>{uuid4()}"
    assert admin.submit("/keys", "/projects", {"project": name}).status == 303
    page = admin.get("/keys").body.decode()
    assert name not in page
    assert name.replace("<b>", "&lt;b&gt;") in page
    again = admin.submit("/keys", "/projects", {"project": name})
    assert again.status == 422
    assert b"is taken already" in again.body
    assert admin.submit("/keys", "/projects", {"project": "  "}).status == 422
    made = raw_key_in(admin.submit("/keys", "/keys", KEY))
    assert Visitor(admin.server).log_in(made).status == 303
    assert admin.submit("/keys", "/project", {"project_id": str(uuid4())}).status == 404
