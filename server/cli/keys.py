"""`seestack-ingest keys`."""

from datetime import timedelta
from typing import Any

import click

from server.access import key_changes
from server.access.credentials import credentials_path
from server.access.key_values import LONGEST_LIFETIME_DAYS, WrongValueError, to_origin
from server.cli.limits import limit_options, show_limits, to_limits
from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.database.setup import connect_current
from server.settings import Settings
from storage.keys.api_keys import ApiKey, Scope, find_key, list_keys
from storage.keys.limits import KeyLimits
from storage.keys.projects import find_project

_REVOKED_WITHIN = "servers refuse it within 10 s"
_LIMITED_WITHIN = "servers follow within 10 s"


class Origin(click.ParamType[str]):
    """An origin as browsers send it."""

    name = "origin"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the origin in lower case."""
        try:
            return to_origin(value)
        except WrongValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
def keys() -> None:
    """Create, list, limit, revoke and rotate API keys.

    A raw key is shown once, when it is created; only a digest of it is stored. KEY is a key's id or its prefix,
    as `list` shows them.
    """


@keys.command()
@click.option("--project", required=True, metavar="NAME|ID", help="Project the key is for.")
@click.option("--name", default="default", show_default=True, help="What the key is for; `keys list` shows it.")
@click.option(
    "--expires-in-days",
    type=click.FloatRange(min=0, min_open=True, max=LONGEST_LIFETIME_DAYS),
    help="Lifetime; without it the key does not expire.",
)
@click.option(
    "--origin",
    "origins",
    type=Origin(),
    multiple=True,
    metavar="ORIGIN",
    help="Only pages of this origin may use the key, e.g. https://app.example.com; may be given several times.",
)
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in Scope]),
    default=Scope.INGEST.value,
    show_default=True,
    help="What the key is for: `ingest` sends rows, `read` reads those of the project.",
)
@limit_options
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def create(
    settings: Settings,
    project: str,
    name: str,
    expires_in_days: float | None,
    origins: tuple[str, ...],
    scope: str,
    *,
    as_json: bool,
    **rates: Any,
) -> None:
    """Create a key and show it, once. It has only the limits that are given.

    A key that browsers show to everyone should be bound to origins and limited.
    """
    limits = to_limits(**rates)
    with connect_current(settings) as connection:
        project_id = find_project(connection, project).id
        key, raw_key = key_changes.create_key(
            connection, project_id, name, Scope(scope), days=expires_in_days, limits=limits, origins=origins
        )
    _show_raw_key(key, raw_key, as_json=as_json)


@keys.command(name="list")
@click.option("--project", metavar="NAME|ID", help="Only keys of this project.")
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def list_(settings: Settings, project: str | None, *, as_json: bool) -> None:
    """List keys, revoked and expired ones too."""
    with connect_current(settings) as connection:
        project_id = find_project(connection, project).id if project is not None else None
        rows = [_as_dict(key) for key in list_keys(connection, project_id)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, empty="no keys yet; make one with `seestack-ingest keys create --project NAME`")


@keys.command()
@click.argument("key")
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def revoke(settings: Settings, key: str, *, as_json: bool) -> None:
    """Make KEY invalid; this cannot be undone."""
    with connect_current(settings) as connection:
        revoked, is_first = key_changes.revoke_key(connection, settings.data_dir, key)
    if as_json:
        print_json(_as_dict(revoked))
    else:
        click.echo(f"revoked key {revoked.prefix}... ({revoked.name}); {_REVOKED_WITHIN}")
        if is_first:
            click.echo(f"removed it from {credentials_path(settings.data_dir)}")


@keys.command()
@click.argument("key")
@limit_options
@click.option("--off", is_flag=True, help="Remove all limits of the key.")
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def limit(settings: Settings, key: str, *, off: bool, as_json: bool, **rates: Any) -> None:
    """Limit what KEY may send a second to each server; a limit that is not named stays as it is."""
    new = to_limits(**rates)
    is_any_named = new != KeyLimits()
    if off == is_any_named:
        raise click.UsageError("give --requests-per-second, --rows-per-second or both; or --off alone")
    with connect_current(settings) as connection:
        found = find_key(connection, key)
        old = KeyLimits() if off else found.limits
        limited = key_changes.limit_key(
            connection, str(found.id), KeyLimits(new.requests or old.requests, new.rows or old.rows)
        )
    if as_json:
        print_json(_as_dict(limited))
    else:
        requests, rows = (shown or "without limit" for shown in show_limits(limited.limits).values())
        click.echo(f"key {limited.prefix}... ({limited.name}): requests {requests}; rows {rows}; {_LIMITED_WITHIN}")


@keys.command()
@click.argument("key")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(min=0, max=24 * 365),
    default=24.0,
    show_default=True,
    help="How long the old key stays valid beside the new one.",
)
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def rotate(settings: Settings, key: str, overlap_hours: float, *, as_json: bool) -> None:
    """Create a successor of KEY, with the same scope, limits and origins, and let KEY expire."""
    with connect_current(settings) as connection:
        overlap = timedelta(hours=overlap_hours)
        new, raw_key, is_first = key_changes.rotate_key(connection, settings.data_dir, key, overlap)
        _show_raw_key(new, raw_key, as_json=as_json)
    if is_first and not as_json:
        click.echo(f"It is in {credentials_path(settings.data_dir)}, too.")


def _show_raw_key(key: ApiKey, raw_key: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"projectId": str(key.project_id), "apiKey": raw_key, **_as_dict(key)})
    else:
        click.echo(f"project {key.project_id}\nkey     {raw_key}\n\nKeep the key: it is not shown again.")


def _as_dict(key: ApiKey) -> dict[str, object]:
    return {
        "keyId": str(key.id),
        "projectId": str(key.project_id),
        "name": key.name,
        "scope": key.scope,
        "prefix": key.prefix,
        "createdAt": key.created_at,
        "expiresAt": key.expires_at,
        "revokedAt": key.revoked_at,
        "lastUsedAt": key.last_used_at,
        **show_limits(key.limits),
        "origins": key.origins,
    }
