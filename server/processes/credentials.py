"""The first project and its key, which are made with the embedded database, and the file that tells them."""

import json
from pathlib import Path

import psycopg

from storage.database import durable_transaction
from storage.keys.api_keys import create_key
from storage.keys.projects import create_project, list_projects
from storage.migrations import ADVISORY_LOCK
from storage.private_file import write_private

FIRST_PROJECT = "default"
CREDENTIALS_FILE = "credentials.json"

_LOCK = "SELECT pg_advisory_xact_lock(%s)"


def ensure_first_key(connection: psycopg.Connection, data_dir: Path) -> None:
    """Make a project and a key when there is no project yet, and write them to the credentials file."""
    with durable_transaction(connection):
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
