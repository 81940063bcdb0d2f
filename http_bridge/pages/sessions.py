"""Who is logged in: the session of a request, and the cookie that it comes in.

Every form that changes something carries a token that belongs to the session (or, at the login page, to the visitor),
and is refused without it. Cookies count for pages only, never for the API.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from flask import Blueprint, Response, current_app, g, request

from http_bridge.http1.greenlets import wait
from server.access.page_files import PageFiles
from server.access.sessions import LIFETIME_S, Identity, Login, Sessions
from server.errors import ForbiddenError, MalformedRequestError, PayloadTooLargeError

CSRF_FIELD: Final = "csrf_token"
LARGEST_FORM_BYTES: Final = 64 * 1024
VISITOR_BYTES: Final = 16

_EXTENSION = "pages"
_FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged in; `project_id` is "" while an administrator has chosen no project."""

    project_id: str
    project_name: str
    is_admin: bool
    csrf_token: str
    identity: Identity


class LoginNeededError(Exception):
    """Nobody is logged in, or not any more; the login page is the answer."""


class ProjectNeededError(Exception):
    """An administrator has chosen no project yet; the page of the projects is the answer."""


class BrowserSession:
    """What the cookies of a request say, and what its answer is to say."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._cookie: str | None = None  # to be set
        self._is_ended = False

    @property
    def files(self) -> PageFiles:
        """The folder that sessions and links are kept in."""
        return self._sessions.files

    @cached_property
    def login(self) -> Login | None:
        """Who is logged in. Raises OSError."""
        cookie = request.cookies.get(self._sessions.cookie_name)
        return self._sessions.read(cookie) if cookie else None

    @cached_property
    def csrf_token(self) -> str:
        """The token that a form of the page must carry. Raises OSError."""
        return self._sessions.csrf_token(self._holder)

    def admits(self, token: str) -> bool:
        """Tell whether a form was made for this session or visitor. Raises OSError."""
        if self.login is None and self._visitor_cookie not in request.cookies:
            return False
        return self._sessions.is_csrf_token(token, self._holder)

    def begin(self, identity: Identity, project_name: str) -> None:
        """Log in, in place of whoever was. Raises OSError."""
        if self.login is not None:
            self._sessions.end(self.login)
        self._cookie = self._sessions.begin(identity, project_name)

    def change(self, identity: Identity, project_name: str) -> None:
        """Have the session go on with another project. Raises LoginNeededError and OSError."""
        if self.login is None:
            raise LoginNeededError
        self._cookie = self._sessions.change(self.login, identity, project_name)

    def end(self) -> None:
        """Log out: the cookie is worth nothing any more, wherever a copy of it is. Raises OSError."""
        if self.login is not None:
            self._sessions.end(self.login)
        self._is_ended = True

    def write(self, response: Response) -> None:
        """Add cookies to an answer. Raises OSError."""
        if self._cookie is not None:
            self._set(response, self._sessions.cookie_name, self._cookie, LIFETIME_S)
        elif self._is_ended:
            self._set(response, self._sessions.cookie_name, "", 0)
        elif "csrf_token" in self.__dict__ and self.login is None and self._visitor_cookie not in request.cookies:
            self._set(response, self._visitor_cookie, self._visitor, None)

    @property
    def _holder(self) -> str:
        """Whom tokens belong to. A visitor's id never looks like that of a session."""
        return self.login.session_id if self.login is not None else f"visitor {self._visitor}"

    @cached_property
    def _visitor(self) -> str:
        return request.cookies.get(self._visitor_cookie) or secrets.token_urlsafe(VISITOR_BYTES)

    @property
    def _visitor_cookie(self) -> str:
        return f"{self._sessions.cookie_name}_visitor"

    def _set(self, response: Response, name: str, value: str, max_age: int | None) -> None:
        # Anyone may claim to come over TLS: all it does is to keep the own cookie off plain text.
        is_secure = request.scheme == "https" or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        response.set_cookie(name, value, max_age, path="/", secure=is_secure, httponly=True, samesite="Lax")


def keep_sessions(pages: Blueprint, data_dir: Path) -> None:
    """Keep the sessions of a blueprint's pages in that data folder."""
    pages.record(lambda setup: setup.app.extensions.update({_EXTENSION: Sessions(data_dir)}))


def browser_session() -> BrowserSession:
    """Return what the cookies of the present request say."""
    if "browser_session" not in g:
        g.browser_session = BrowserSession(current_app.extensions[_EXTENSION])
    found: BrowserSession = g.browser_session
    return found


def find_session() -> Session | None:
    """Return who is logged in, None for nobody. Raises OSError."""
    browser = browser_session()
    if browser.login is None:
        return None
    identity = browser.login.identity
    project_id = str(identity.project_id) if identity.project_id is not None else ""
    return Session(project_id, browser.login.project_name, identity.is_admin, browser.csrf_token, identity)


def current_session() -> Session:
    """Return who is logged in, and looks at a project. Raises LoginNeededError, ProjectNeededError and OSError."""
    session = find_session()
    if session is None:
        raise LoginNeededError
    if not session.project_id:
        raise ProjectNeededError
    return session


def session_check() -> Callable[[], bool]:
    """Return what tells, also when the present request is long answered, whether its session goes on.

    It raises OSError.
    """
    sessions: Sessions = current_app.extensions[_EXTENSION]
    cookie = request.cookies.get(sessions.cookie_name, "")
    return lambda: sessions.read(cookie) is not None


def require_admin() -> Session:
    """Return who is logged in, an administrator. Raises LoginNeededError, ForbiddenError and OSError."""
    session = find_session()
    if session is None:
        raise LoginNeededError
    if not session.is_admin:
        raise ForbiddenError("Only an administrator may see this page")
    return session


def check_form() -> None:
    """Read the form of the present request, if it may change something, and check whose it is.

    Raises ForbiddenError, MalformedRequestError and PayloadTooLargeError.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    if request.mimetype != _FORM_TYPE:
        raise MalformedRequestError("A form is needed")
    body = wait(g.request.body.read(LARGEST_FORM_BYTES + 1))
    if len(body) > LARGEST_FORM_BYTES:
        raise PayloadTooLargeError(LARGEST_FORM_BYTES)
    try:
        g.form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise MalformedRequestError("The form cannot be read") from error
    if not browser_session().admits(g.form.get(CSRF_FIELD, "")):
        raise ForbiddenError("This form is too old, or of another site: load the page again")


def form() -> Mapping[str, str]:
    """Return the fields of the present request's form."""
    fields: Mapping[str, str] = g.form
    return fields
