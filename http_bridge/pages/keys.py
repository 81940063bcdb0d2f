"""Projects and keys, for administrators: what there is, making more, limiting and revoking keys."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from flask import Blueprint, Response, make_response, render_template

from http_bridge.pages.safety import local_path, see_other
from http_bridge.pages.sessions import browser_session, form, require_admin
from http_bridge.pages.tasks import perform
from server.access.sessions import Identity
from server.access.tasks import (
    CreatedKey,
    CreateKey,
    CreateProject,
    LimitKey,
    Limits,
    ListKeys,
    ListProjects,
    RevokeKey,
)
from server.errors import ForbiddenError, PathNotFoundError, ValidationFailedError
from server.query.relay.client import QueryRelay
from storage.keys.api_keys import ApiKey, Scope
from storage.keys.projects import Project

ADDRESS: Final = "/keys"

MOST_DIGITS: Final = 15  # of a whole number; further ones change nothing, since it is too large

_NOTHING: Final[Mapping[str, str]] = {}


def add_key_views(pages: Blueprint, relay: QueryRelay) -> None:
    """Add the pages about projects and keys."""

    @pages.get(ADDRESS)
    def show_keys() -> Response:
        return _show(relay)

    @pages.post(ADDRESS)
    def create_key() -> Response:
        project_id = _project_id()
        try:
            created = perform(relay, _key_of(project_id, form()), CreatedKey)
        except ValidationFailedError as error:
            return _show(relay, key_problems=error.details)
        return _show(relay, created=created)

    @pages.post("/projects")
    def create_project() -> Response:
        require_admin()
        try:
            project = perform(relay, CreateProject(form().get("project", "").strip()), Project)
        except ValidationFailedError as error:
            return _show(relay, project_problems={"project": "; ".join(error.details.values())})
        _choose(project)
        return see_other(ADDRESS)

    @pages.post("/project")
    def choose_project() -> Response:
        require_admin()
        wanted = form().get("project_id")
        for project in perform(relay, ListProjects(), list[Project]):
            if str(project.id) == wanted:
                _choose(project)
                return see_other(local_path(form().get("next", "/")))
        raise PathNotFoundError("There is no such project any more")

    @pages.get(f"{ADDRESS}/<uuid:key_id>")
    def show_key(key_id: UUID) -> Response:
        return _show_key(relay, key_id)

    @pages.post(f"{ADDRESS}/<uuid:key_id>/limits")
    def limit_key(key_id: UUID) -> Response:
        project_id = _project_id()
        try:
            perform(relay, LimitKey(project_id, key_id, _limits_of(form())), ApiKey)
        except ValidationFailedError as error:
            return _show_key(relay, key_id, error.details)
        return see_other(f"{ADDRESS}/{key_id}")

    @pages.post(f"{ADDRESS}/<uuid:key_id>/revoke")
    def revoke_key(key_id: UUID) -> Response:
        perform(relay, RevokeKey(_project_id(), key_id), ApiKey)
        return see_other(ADDRESS)


def state_of(key: ApiKey) -> str:
    """Return whether a key may be used now: "active", "expired" or "revoked"."""
    if key.revoked_at is not None:
        return "revoked"
    return "active" if key.is_valid(datetime.now(UTC)) else "expired"


def _show(
    relay: QueryRelay,
    *,
    created: CreatedKey | None = None,
    key_problems: Mapping[str, str] = _NOTHING,
    project_problems: Mapping[str, str] = _NOTHING,
) -> Response:
    session = require_admin()
    projects = perform(relay, ListProjects(), list[Project])
    keys = perform(relay, ListKeys(UUID(session.project_id)), list[ApiKey]) if session.project_id else []
    page = render_template(
        "keys.html",
        projects=projects,
        keys=list(reversed(keys)),
        state_of=state_of,
        scopes=list(Scope),
        created=created,
        key_problems=key_problems,
        project_problems=project_problems,
        given=form() if key_problems or project_problems else _NOTHING,
    )
    return make_response(page, 422 if key_problems or project_problems else 200)


def _show_key(relay: QueryRelay, key_id: UUID, problems: Mapping[str, str] = _NOTHING) -> Response:
    keys = perform(relay, ListKeys(_project_id()), list[ApiKey])
    key = next((key for key in keys if key.id == key_id), None)
    if key is None:
        raise PathNotFoundError("This project has no such key")
    given = form() if problems else _limits_as_text(key)
    page = render_template("key.html", key=key, state=state_of(key), problems=problems, given=given)
    return make_response(page, 422 if problems else 200)


def _project_id() -> UUID:
    """Return the project that an administrator has chosen. Raises LoginNeededError, ForbiddenError and OSError."""
    session = require_admin()
    if not session.project_id:
        raise ForbiddenError("Make a project first")
    return UUID(session.project_id)


def _choose(project: Project) -> None:
    browser_session().change(Identity(project.id, None), project.name)


def _key_of(project_id: UUID, given: Mapping[str, str]) -> CreateKey:
    return CreateKey(
        project_id,
        given.get("name", "").strip(),
        _scope(given.get("scope", "")),
        _number(given, "days"),
        given.get("origins", "").replace(",", " ").split(),
        _limits_of(given),
    )


def _limits_of(given: Mapping[str, str]) -> Limits:
    return Limits(
        _number(given, "requests_per_second"),
        _whole_number(given, "requests_burst"),
        _number(given, "rows_per_second"),
        _whole_number(given, "rows_burst"),
    )


def _limits_as_text(key: ApiKey) -> dict[str, str]:
    values = {
        "requests_per_second": key.requests_per_second,
        "requests_burst": key.requests_burst,
        "rows_per_second": key.rows_per_second,
        "rows_burst": key.rows_burst,
    }
    return {name: "" if value is None else f"{value:.10g}" for name, value in values.items()}


def _scope(text: str) -> Scope:
    try:
        return Scope(text)
    except ValueError as error:
        raise ValidationFailedError({"scope": f"must be one of {', '.join(Scope)}"}) from error


def _number(given: Mapping[str, str], name: str) -> float | None:
    text = given.get(name, "").strip()
    try:
        return float(text) if text else None
    except ValueError as error:
        raise ValidationFailedError({name: "must be a number"}) from error


def _whole_number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "").strip()
    try:
        return int(text[:MOST_DIGITS]) if text else None
    except ValueError as error:
        raise ValidationFailedError({name: "must be a whole number"}) from error
