"""Changes of projects and keys, as commands and pages make them. Each is one transaction, which the caller begins."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg

from server.access.credentials import read_credentials, write_credentials
from server.access.key_values import check_name, to_lifetime, to_origins
from storage.keys import api_keys, projects
from storage.keys.api_keys import ApiKey, Scope
from storage.keys.limits import KeyLimits
from storage.keys.projects import Project


def create_project(connection: psycopg.Connection, name: str) -> Project:
    """Make a project. Raises WrongValueError, and AlreadyExistsError when the name is taken."""
    return projects.create_project(connection, check_name(name))


def create_key(
    connection: psycopg.Connection,
    project_id: UUID,
    name: str,
    scope: Scope,
    *,
    days: float | None = None,
    limits: KeyLimits | None = None,
    origins: Sequence[str] = (),
) -> tuple[ApiKey, str]:
    """Make a key and return it with its raw form, which cannot be had again. Raises WrongValueError."""
    lifetime = to_lifetime(days)
    return api_keys.create_key(connection, project_id, check_name(name), lifetime, limits, to_origins(origins), scope)


def revoke_key(connection: psycopg.Connection, data_dir: Path, reference: str) -> tuple[ApiKey, bool]:
    """Make the key of that id or prefix invalid, and take it out of the credentials file if it is there.

    Return its row, and whether it was in the file. Raises NotFoundError and OSError.
    """
    revoked = api_keys.revoke_key(connection, api_keys.find_key(connection, reference))
    return revoked, replace_credentials(connection, data_dir, revoked, None)


def limit_key(connection: psycopg.Connection, reference: str, limits: KeyLimits) -> ApiKey:
    """Replace the limits of the key of that id or prefix. Raises NotFoundError."""
    return api_keys.set_limits(connection, api_keys.find_key(connection, reference), limits)


def rotate_key(
    connection: psycopg.Connection, data_dir: Path, reference: str, overlap: timedelta
) -> tuple[ApiKey, str, bool]:
    """Make a successor of the key of that id or prefix, which then expires, and put it into the credentials file.

    Return its row, its raw form, and whether it is in the file now. Raises NotFoundError, KeyRevokedError and OSError.
    """
    old = api_keys.find_key(connection, reference)
    new, raw_key = api_keys.rotate_key(connection, old, overlap)
    return new, raw_key, replace_credentials(connection, data_dir, old, raw_key)


def replace_credentials(connection: psycopg.Connection, data_dir: Path, old: ApiKey, raw_key: str | None) -> bool:
    """Write the successor of the key `old` to the credentials file, or None for none, if the file holds `old`.

    Returns whether it does. Raises OSError.
    """
    credentials = read_credentials(data_dir)
    if credentials is None:
        return False
    for name, held in credentials.raw_keys.items():
        found = api_keys.find_raw_key(connection, held)
        if found is not None and found.id == old.id:
            write_credentials(data_dir, msgspec.structs.replace(credentials, **{name: raw_key}))
            return True
    return False
