"""The first project and key, which are made with the embedded database, and the file that holds them."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from storage.database import connect, durable_transaction
from storage.errors import StorageError
from storage.keys.api_keys import ApiKey, create_key, find_raw_key
from storage.keys.projects import create_project, list_projects
from storage.migrations import ADVISORY_LOCK
from storage.private_file import write_private

FIRST_PROJECT = "default"
CREDENTIALS_FILE = "credentials.json"

_logger = logging.getLogger(__name__)

_LOCK = "SELECT pg_advisory_xact_lock(%s)"


def ensure_first_key(connection: psycopg.Connection, data_dir: Path) -> None:
    """Make a project and a key when there is no project yet, and write them to the credentials file."""
    with durable_transaction(connection):
        connection.execute(_LOCK, (ADVISORY_LOCK,))
        if list_projects(connection):
            _warn_of_invalid_key(connection, data_dir)
            return
        project = create_project(connection, FIRST_PROJECT)
        key, raw_key = create_key(connection, project.id, FIRST_PROJECT)
        _write_credentials(data_dir, key, raw_key)


def credentials_path(data_dir: Path) -> Path:
    """Return where the first key is written: {"projectId": "...", "apiKey": "..."}."""
    return data_dir / CREDENTIALS_FILE


def read_credentials(data_dir: Path) -> tuple[str, str] | None:
    """Return project id and raw key from the credentials file; None when there is no such file to read."""
    try:
        credentials = json.loads(credentials_path(data_dir).read_text())
        return credentials["projectId"], credentials["apiKey"]
    except (OSError, ValueError, KeyError):
        return None


def is_valid_key(url: str, raw_key: str) -> bool:
    """Tell whether a key may be used now; also true while the database at `url` cannot be asked."""
    try:
        with connect(url) as connection:
            return _is_valid(connection, raw_key)
    except StorageError:
        return True


def replace_credentials(
    connection: psycopg.Connection, data_dir: Path, old: ApiKey, new: tuple[ApiKey, str] | None
) -> bool:
    """Write `new`, a key and its raw form, to the credentials file, or remove the file, if it holds the key `old`.

    Returns whether it did. Raises OSError.
    """
    credentials = read_credentials(data_dir)
    held = credentials and find_raw_key(connection, credentials[1])
    if not held or held.id != old.id:
        return False
    if new is None:
        credentials_path(data_dir).unlink()
    else:
        _write_credentials(data_dir, *new)
    return True


def _write_credentials(data_dir: Path, key: ApiKey, raw_key: str) -> None:
    credentials = json.dumps({"projectId": str(key.project_id), "apiKey": raw_key}, indent=2)
    write_private(credentials_path(data_dir), f"{credentials}\n".encode())


def _is_valid(connection: psycopg.Connection, raw_key: str) -> bool:
    found = find_raw_key(connection, raw_key)
    return found is not None and found.is_valid(datetime.now(UTC))


def _warn_of_invalid_key(connection: psycopg.Connection, data_dir: Path) -> None:
    credentials = read_credentials(data_dir)
    if credentials is not None and not _is_valid(connection, credentials[1]):
        _logger.warning(
            "the key in %s is no longer valid; make another with `seestack-ingest keys create`",
            credentials_path(data_dir),
        )
