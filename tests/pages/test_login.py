"""Logging in and out: keys, links that work once, forged and ended cookies, forms of other sites."""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import grpc
import pytest
from flask import Blueprint, Flask, Response
from msgspec.structs import replace

from http_bridge.pages.safety import SECURITY_HEADERS, local_path
from http_bridge.pages.sessions import browser_session, keep_sessions
from server.access.login_limit import BUCKETS, LIMIT, bucket_of
from server.access.login_links import LIFETIME_S, is_unused, redeem
from server.access.page_files import PageFiles
from server.access.sessions import Identity, Sessions
from storage.keys.api_keys import Scope, generate_raw_key
from tests.contract.envelope import assert_envelope
from tests.grpc_client import refusal_of
from tests.pages.visitor import Visitor, make_link, token_in
from tests.patience import PATIENCE_S
from tests.running_server import RunningServer, create_key, run_command

WRONG_NEXT = [
    "https://example.com",
    "//example.com", "/\\example.com", "\\/example.com", "/\t/example.com", "/a b", "example.com",
    "javascript:alert(1)", "/é", "/" + "a" * 2000, "",
]  # fmt: skip


def sha(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def is_logged_in(visitor: Visitor) -> bool:
    return b'action="/logout"' in visitor.get("/login").body


def test_a_read_key_logs_in_and_its_project_is_shown(visitor: Visitor, read_key: str) -> None:
    assert not is_logged_in(visitor)
    answer = visitor.log_in(read_key, "/explorer?status=500")
    assert (answer.status, answer.headers["location"]) == (303, "/explorer?status=500")
    assert is_logged_in(visitor)


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_has_no_key(visitor: Visitor, read_key: str) -> None:
    visitor.log_in(read_key)
    (name,) = (name for name in visitor.cookies if not name.endswith("_visitor"))
    cookie = visitor.set_cookies[name]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Lax", "/", "")
    assert cookie["max-age"] == "43200"
    decoded = Sessions(visitor.server.log.parent).read(cookie.value)
    assert decoded is not None
    assert read_key not in repr(decoded)
    assert read_key not in cookie.value


def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_only(visitor: Visitor, read_key: str) -> None:
    token = token_in(visitor.get("/login", X_Forwarded_Proto="https"))
    assert all(cookie["secure"] for cookie in visitor.set_cookies.values())
    visitor.post("/login", {"key": read_key, "csrf_token": token}, X_Forwarded_Proto="https")
    assert len(visitor.set_cookies) == 2
    assert all(cookie["secure"] for cookie in visitor.set_cookies.values())


def test_over_tls_the_cookie_is_for_tls_only(tmp_path: Path) -> None:
    app = Flask(__name__)
    pages = Blueprint("pages", __name__)
    keep_sessions(pages, tmp_path)
    app.register_blueprint(pages)
    for scheme in ("http", "https"):
        with app.test_request_context(base_url=f"{scheme}://localhost"):
            response = Response()
            browser_session().begin(Identity(None, None), "mine")
            browser_session().write(response)
            assert ("Secure" in response.headers["Set-Cookie"]) == (scheme == "https")


@pytest.mark.parametrize("kind", ["unknown", "mistyped", "empty", "ingest", "expired"])
def test_another_key_does_not_log_in(visitor: Visitor, read_key: str, kind: str) -> None:
    server = visitor.server
    keys: dict[str, Callable[[], str]] = {
        "unknown": generate_raw_key,
        "mistyped": lambda: read_key[:-1] + ("a" if read_key[-1] != "a" else "b"),
        "empty": str,
        "ingest": lambda: server.api_key,
        "expired": lambda: create_key(server.database_url, server.project_id, timedelta(days=-1), Scope.READ)[1],
    }
    key = keys[kind]()
    answer = visitor.log_in(key)
    assert answer.status == (403 if kind == "ingest" else 401)
    assert b'role="alert"' in answer.body
    assert not key or key.encode() not in answer.body
    assert not is_logged_in(visitor)


def test_a_link_logs_an_administrator_in_once(pages_server: RunningServer) -> None:
    link = make_link(pages_server)
    with ThreadPoolExecutor(8) as threads:
        visitors = [Visitor(pages_server) for _ in range(8)]
        answers = list(threads.map(lambda visitor: visitor.get(link), visitors))
    assert sorted(answer.status for answer in answers) == [303] + [401] * 7
    assert sum(is_logged_in(visitor) for visitor in visitors) == 1
    assert visitors[0].get(link).status == 401


def test_a_command_makes_a_link(visitor: Visitor) -> None:
    server = visitor.server
    port = str(server.http_port)
    made = run_command("pages", "link", "--data-dir", str(server.log.parent), "--http-host", "::", "--http-port", port)
    begin = f"http://[::1]:{port}"
    assert made.stdout.startswith(f"{begin}/login?token=")
    assert visitor.get(made.stdout.strip().removeprefix(begin)).status == 303
    assert is_logged_in(visitor)


def test_a_head_request_does_not_use_a_link_up(pages_server: RunningServer) -> None:
    link = make_link(pages_server)
    assert pages_server.request("HEAD", link).status == 200
    assert Visitor(pages_server).get(link).status == 303


def test_an_invented_or_old_link_does_not_log_in(visitor: Visitor, tmp_path: Path) -> None:
    assert visitor.get("/login?token=" + "a" * 43).status == 401
    assert visitor.get("/login?token=../secret").status == 401
    assert not is_logged_in(visitor)
    files = PageFiles(tmp_path)
    files.mark("links", sha("old"), LIFETIME_S)
    assert is_unused(files, "old")
    made_at = time.time() - LIFETIME_S - 1
    os.utime(tmp_path / "pages/links" / sha("old"), (made_at, made_at))
    assert not is_unused(files, "old")
    assert not redeem(files, "old")


def test_logging_out_ends_the_session_for_every_copy_of_its_cookie(reader: Visitor) -> None:
    copy = Visitor(reader.server, dict(reader.cookies))
    assert is_logged_in(copy)
    answer = reader.submit("/login", "/logout", {})
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert not is_logged_in(reader)
    assert not is_logged_in(copy)


def test_logging_in_again_ends_the_session_before(reader: Visitor, read_key: str) -> None:
    copy = Visitor(reader.server, dict(reader.cookies))
    assert reader.log_in(read_key).status == 303
    assert is_logged_in(reader)
    assert not is_logged_in(copy)


def test_a_cookie_that_was_not_signed_here_is_none(reader: Visitor, tmp_path: Path) -> None:
    (name,) = (name for name in reader.cookies if not name.endswith("_visitor"))
    genuine = reader.cookies[name]
    forged = Sessions(tmp_path).begin(Identity(None, None), "mine")
    cut, signature = genuine.rsplit(".", 1)
    changed = f"{'A' if cut[5] != 'A' else 'B'}".join((cut[:5], cut[6:]))
    for cookie in (forged, f"{changed}.{signature}", f"{cut}.", cut, "", "x" * 3000):
        assert not is_logged_in(Visitor(reader.server, {name: cookie})), cookie
    assert is_logged_in(Visitor(reader.server, {name: genuine}))


def test_a_session_ends_with_its_lifetime_whatever_is_done_in_it(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    login = sessions.read(sessions.begin(Identity(None, None), "mine"))
    assert login is not None
    changed = sessions.read(sessions.change(login, Identity(uuid4(), None), "another"))
    assert changed is not None
    assert changed.began_at == login.began_at
    assert sessions.read(sessions.sign(replace(changed, began_at=time.time() - 12 * 3600 - 1))) is None


def test_removing_the_secret_ends_all_sessions(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    cookie = sessions.begin(Identity(None, None), "mine")
    secret = tmp_path / "pages/secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700
    assert Sessions(tmp_path).read(cookie) is not None
    secret.unlink()
    assert sessions.read(cookie) is None
    # One that was emptied signs nothing.
    secret.write_bytes(b"")
    assert len(PageFiles(tmp_path).secret()) == 32


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_form_without_its_token_is_refused(reader: Visitor, read_key: str, path: str) -> None:
    stranger = Visitor(reader.server)
    foreign = token_in(stranger.get("/login"))
    for token in (None, "", "0" * 64, foreign):
        fields = {"key": read_key} | ({} if token is None else {"csrf_token": token})
        assert reader.post(path, fields).status == 403
        assert Visitor(reader.server).post(path, fields).status == 403
    assert is_logged_in(reader)
    assert stranger.post("/login", {"key": read_key, "csrf_token": foreign}).status == 303


def test_what_is_not_a_form_or_too_large_is_refused(visitor: Visitor) -> None:
    visitor.get("/login")
    assert visitor.post("/login", {}, **{"Content-Type": "text/plain"}).status == 400
    assert visitor.post("/login", {"key": "a" * 70_000}).status == 413
    assert visitor.post("/login", {f"f{number}": "" for number in range(200)}).status == 400


@pytest.mark.parametrize("wanted", WRONG_NEXT)
def test_a_login_leads_to_this_site_only(wanted: str) -> None:
    assert local_path(wanted) == "/"


def test_a_login_with_a_wrong_next_leads_to_the_first_page(visitor: Visitor, read_key: str) -> None:
    assert visitor.log_in(read_key, "//example.com").headers["location"] == "/"
    assert b"<b>" not in visitor.get("/login?next=%22%3E%3Cb%3E").body


def test_guessing_is_slowed_down(visitor: Visitor) -> None:
    statuses = set()
    for _ in range(LIMIT.burst + 30):
        answer = visitor.log_in("nonsense", "")
        statuses.add(answer.status)
        if answer.status == 429:
            break
    assert statuses == {401, 429}
    assert int(answer.headers["retry-after"]) >= 1


def test_addresses_share_a_bounded_number_of_buckets() -> None:
    assert bucket_of("2001:db8::1") == bucket_of("2001:db8::ffff:1")
    assert bucket_of("2001:db8::1") != bucket_of("2001:db8:1::1")
    assert bucket_of("192.0.2.1") != bucket_of("192.0.2.2")
    assert len({bucket_of(str(number)) for number in range(20_000)}) == BUCKETS


@pytest.mark.parametrize("path", ["/login", "/login?token=x"])
def test_pages_keep_browsers_to_this_site(visitor: Visitor, path: str) -> None:
    headers = visitor.get(path).headers
    assert {name: headers[name.lower()] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert headers["cache-control"] == "no-store"
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


def test_a_client_cannot_say_who_it_is(pages_server: RunningServer) -> None:
    """Whatever it sends by the names of what workers tell query processes, it has no session."""
    path = "/api/v1/http-requests/stats"
    forged = {"session": json.dumps({"project_id": pages_server.project_id, "key_digest": None})}
    assert pages_server.request("GET", path, headers=forged).status == 401
    assert pages_server.request("GET", f"{path}?{urlencode(forged)}").status == 401
    call: Any = pages_server.channel().unary_unary("/seestack.query.v1.QueryService/GetStats", None, None)
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", metadata=tuple(forged.items()), timeout=PATIENCE_S)
    assert refusal_of(raised.value).status is grpc.StatusCode.UNAUTHENTICATED


def test_the_api_takes_no_cookie(pages_server: RunningServer, read_key: str) -> None:
    reader, admin = Visitor(pages_server), Visitor(pages_server)
    reader.log_in(read_key)
    admin.get(make_link(pages_server))
    for visitor in (reader, admin):
        answer = visitor.get("/api/v1/http-requests/stats")
        assert_envelope(answer, 401, "INVALID_API_KEY", "Invalid or missing API key")
