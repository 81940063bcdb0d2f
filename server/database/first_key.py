"""The first project and its keys, which are made with the embedded database and kept in the credentials file."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg

from server.access.credentials import Credentials, credentials_path, read_credentials, write_credentials
from storage.database import connect, durable_transaction
from storage.errors import StorageError
from storage.keys.api_keys import ApiKey, Scope, create_key, find_raw_key
from storage.keys.projects import create_project, list_projects
from storage.migrations import ADVISORY_LOCK

FIRST_PROJECT = "default"

_logger = logging.getLogger(__name__)

_LOCK = "SELECT pg_advisory_xact_lock(%s)"


def ensure_first_keys(connection: psycopg.Connection, data_dir: Path) -> None:
    """Make a project with a key to send and one to read when there is no project yet; write them to the file.

    A file from before there were keys to read gets one.
    """
    with durable_transaction(connection):
        connection.execute(_LOCK, (ADVISORY_LOCK,))
        if list_projects(connection):
            _check_file(connection, data_dir)
            return
        project = create_project(connection, FIRST_PROJECT)
        _, api_key = create_key(connection, project.id, FIRST_PROJECT)
        _, read_key = create_key(connection, project.id, FIRST_PROJECT, scope=Scope.READ)
        write_credentials(data_dir, Credentials(str(project.id), api_key, read_key))


def is_valid_key(url: str, raw_key: str) -> bool:
    """Tell whether a key may be used now; also true while the database at `url` cannot be asked."""
    try:
        with connect(url) as connection:
            return _find_valid(connection, raw_key) is not None
    except StorageError:
        return True


def _find_valid(connection: psycopg.Connection, raw_key: str) -> ApiKey | None:
    found = find_raw_key(connection, raw_key)
    return found if found is not None and found.is_valid(datetime.now(UTC)) else None


def _check_file(connection: psycopg.Connection, data_dir: Path) -> None:
    credentials = read_credentials(data_dir)
    if credentials is None or credentials.api_key is None:
        return
    key = _find_valid(connection, credentials.api_key)
    if key is None:
        _logger.warning(
            "the key in %s is no longer valid; make another with `seestack-ingest keys create`",
            credentials_path(data_dir),
        )
    elif credentials.read_key is msgspec.UNSET:
        _, read_key = create_key(connection, key.project_id, FIRST_PROJECT, scope=Scope.READ)
        write_credentials(data_dir, msgspec.structs.replace(credentials, read_key=read_key))
        _logger.info("a key to read was made: it is in %s", credentials_path(data_dir))
