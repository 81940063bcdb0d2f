"""Getting a database ready: finding or starting it, its schema, its partitions, and a first project and key."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from server.settings import Settings
from storage.database import connect
from storage.embedded.server import EmbeddedServer
from storage.keys.api_keys import create_key
from storage.keys.projects import create_project, list_projects
from storage.migrations import ADVISORY_LOCK, migrate
from storage.partitions import ensure_partitions
from storage.private_file import write_private

FIRST_PROJECT = "default"
CREDENTIALS_FILE = "credentials.json"

_LOCK = "SELECT pg_advisory_xact_lock(%s)"


@contextmanager
def open_database(settings: Settings) -> Iterator[tuple[str, EmbeddedServer | None]]:
    """Yield the URL of the database to use, and the embedded server when that is it.

    Raises EmbeddedServerError when it cannot be started.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value(), None
    else:
        with EmbeddedServer(settings.data_dir) as embedded:
            yield embedded.url, embedded


@contextmanager
def connect_migrated(settings: Settings) -> Iterator[psycopg.Connection]:
    """Yield a connection to the database of `settings`, with its schema brought up to date."""
    with open_database(settings) as (url, _), connect(url) as connection:
        prepare_schema(connection)
        yield connection


def prepare_schema(connection: psycopg.Connection) -> list[str]:
    """Apply the missing migrations, make the missing partitions, and return the names of both."""
    applied = [f"{migration.version:04d}_{migration.name}" for migration in migrate(connection)]
    return applied + ensure_partitions(connection, datetime.now(UTC).date())


def ensure_first_key(connection: psycopg.Connection, data_dir: Path) -> None:
    """Make a project and a key when there is no project yet, and write them to the credentials file."""
    with connection.transaction():
        connection.execute(_LOCK, (ADVISORY_LOCK,))
        if list_projects(connection):
            return
        project = create_project(connection, FIRST_PROJECT)
        _, raw_key = create_key(connection, project.id, FIRST_PROJECT)
        credentials = json.dumps({"projectId": str(project.id), "apiKey": raw_key}, indent=2)
        write_private(credentials_path(data_dir), f"{credentials}\n".encode())


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
