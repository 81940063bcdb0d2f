"""Logging in, with a read key or with a link that works once, and logging out."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template, request

from http_bridge.pages.safety import local_path, see_other, with_retry_after
from http_bridge.pages.sessions import browser_session, form
from http_bridge.pages.tasks import perform
from server.access.login_links import PATH, is_unused, redeem
from server.access.sessions import Identity
from server.access.tasks import FoundKey, ListProjects, LogIn
from server.errors import ErrorCode, IngestError
from server.query.relay.client import QueryRelay
from storage.keys.projects import Project

# What a person can do about a refusal; other errors have a page of their own.
_ADVICE: Final = {
    ErrorCode.INVALID_API_KEY: "This key is not valid.",
    ErrorCode.FORBIDDEN: "This key sends telemetry. To look at it, a key of scope read is needed.",
    ErrorCode.RATE_LIMITED: "Too many keys were tried from here. Wait a few seconds.",
}
_WRONG_LINK: Final = "This link was used before, is older than an hour, or belongs to another server."


def add_login_views(pages: Blueprint, relay: QueryRelay) -> None:
    """Add the login page and what it leads to."""

    @pages.get(PATH)
    def show_login() -> Response:
        token = request.args.get("token")
        if token is None or request.method == "HEAD":
            return _show_form(request.args.get("next", ""))
        return _follow_link(relay, token)

    @pages.post(PATH)
    def log_in() -> Response:
        wanted = form().get("next", "")
        task = LogIn(form().get("key", "").strip(), request.headers.get("Origin"), request.remote_addr or "")
        try:
            found = perform(relay, task, FoundKey)
        except IngestError as error:
            if error.code not in _ADVICE:
                raise
            return with_retry_after(_show_form(wanted, _ADVICE[error.code], error.outcome.http_status), error)
        browser_session().begin(Identity(found.project_id, found.digest), found.project_name)
        return see_other(local_path(wanted))

    @pages.post("/logout")
    def log_out() -> Response:
        browser_session().end()
        return see_other(PATH)


def _follow_link(relay: QueryRelay, token: str) -> Response:
    """Log an administrator in, with the oldest project; the link is used up only when that can be done."""
    files = browser_session().files
    if not is_unused(files, token):
        return _show_form("", _WRONG_LINK, 401)
    projects = perform(relay, ListProjects(), list[Project])
    if not redeem(files, token):
        return _show_form("", _WRONG_LINK, 401)
    first = projects[0] if projects else None
    browser_session().begin(Identity(first.id if first else None, None), first.name if first else "")
    return see_other("/")


def _show_form(wanted: str, problem: str = "", status: int = 200) -> Response:
    token = browser_session().csrf_token
    return make_response(render_template("login.html", problem=problem, next=wanted, csrf_token=token), status)
