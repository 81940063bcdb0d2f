"""What all pages have in common: headers that keep browsers to this site, and what becomes of errors."""

import logging
from collections.abc import Mapping
from math import ceil
from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.exceptions import NotFound

from http_bridge.http_errors import as_ingest_error
from http_bridge.pages.sessions import LoginNeededError, ProjectNeededError, browser_session, check_form, find_session
from server.access.sessions import Identity
from server.errors import ErrorCode, IngestError, PathNotFoundError, ServiceUnavailableError, explain

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LONGEST_NEXT: Final = 2000
API_PATHS: Final = ("/api/", "/ingest/")  # below these nobody looks for a page

_SEE_OTHER: Final = 303

_logger = logging.getLogger(__name__)


def make_safe(pages: Blueprint) -> None:
    """Give all pages of a blueprint their checks, their headers and their errors."""
    pages.before_request(check_form)
    pages.after_request(_finish)
    pages.register_error_handler(LoginNeededError, lambda _: go_to_login())
    pages.register_error_handler(ProjectNeededError, lambda _: see_other("/keys"))
    pages.register_error_handler(Exception, _show_error)
    pages.context_processor(_context)


def see_other(address: str) -> Response:
    """Return the answer that has the browser get another page of this site (RFC 9110, 15.4.4)."""
    return make_response(redirect(address, _SEE_OTHER))


def go_to_login() -> Response:
    """Return the answer for somebody who must log in first, and then sees what was asked for."""
    wanted = request.full_path.rstrip("?") if request.method == "GET" else ""
    query = f"?{urlencode({'next': wanted})}" if wanted not in ("", "/") else ""
    return see_other(f"/login{query}")


def local_path(address: str) -> str:
    """Return where to go after a login: `address` if it is a path of this site, else the first page.

    Browsers take a backslash for a slash, and drop control characters and blanks (WHATWG URL).
    """
    is_path = address.startswith("/") and not address.startswith("//") and "\\" not in address
    is_plain = address.isascii() and address.isprintable() and " " not in address
    return address if is_path and is_plain and len(address) <= LONGEST_NEXT else "/"


def with_retry_after(response: Response, error: IngestError) -> Response:
    """Return an answer to `error` that says when to try again, where that is known."""
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(ceil(error.retry_after_s))
    return response


def answer_missing(error: Exception) -> Response | None:
    """Return the page for a browser that asked for what is not there; None for other errors, and for the API's clients.

    It is for the application, as the request was for no page of a blueprint.
    """
    is_of_api = request.path.startswith(API_PATHS)
    if not isinstance(error, NotFound) or is_of_api or "text/html" not in request.headers.get("Accept", ""):
        return None
    missing = PathNotFoundError("There is no page at this address")
    page = render_template("error.html", error=missing, path=request.path, given={}, **_context())
    return _finish(make_response(page, missing.outcome.http_status))


def _context() -> dict[str, object]:
    try:
        return {"session": find_session()}
    except OSError:
        return {"session": None}


def _finish(response: Response) -> Response:
    browser_session().write(response)
    for name, value in SECURITY_HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _show_error(error: Exception) -> Response:
    refusal = _explain(error)
    if refusal.code is ErrorCode.INVALID_API_KEY:
        return _answer_unknown()
    response = make_response(render_template("error.html", error=refusal), refusal.outcome.http_status)
    return with_retry_after(response, refusal)


def _answer_unknown() -> Response:
    """Answer whoever is not known any more: a key was revoked or has expired, or an administrator's project is gone."""
    browser = browser_session()
    if browser.login is not None and browser.login.identity.is_admin:
        browser.change(Identity(None, None), "")
        return see_other("/keys")
    browser.end()
    return go_to_login()


def _explain(error: Exception) -> IngestError:
    if isinstance(error, OSError):
        _logger.warning("sessions of pages cannot be kept: %s: %s", error.filename, error.strerror)
        return ServiceUnavailableError()
    refusal = explain(as_ingest_error(error))
    if refusal.code is ErrorCode.INTERNAL_ERROR and refusal.__cause__ is not None:
        _logger.error("a page failed", exc_info=error)
    return refusal
