"""Projects: what API keys and events belong to."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from storage.database import durable_transaction
from storage.errors import AlreadyExistsError, NotFoundError, SchemaError

_COLUMNS = "id, number, name, created_at"
_INSERT = f"INSERT INTO projects (name) VALUES (%s) RETURNING {_COLUMNS}"
_SELECT = f"SELECT {_COLUMNS} FROM projects ORDER BY created_at, name"
_FIND = f"SELECT {_COLUMNS} FROM projects WHERE name = %(reference)s OR id::text = lower(%(reference)s)"
_LOOKUP = f"SELECT {_COLUMNS} FROM projects WHERE id = %s"
_HAS_UNMOVED = "SELECT to_regclass('http_requests_before') IS NOT NULL"
_NOTE_DELETED = "INSERT INTO deleted_projects (number) VALUES (%s)"
_DELETE_KEYS = "DELETE FROM api_keys WHERE project_id = %s"
_DELETE = "DELETE FROM projects WHERE id = %s"


@dataclass(frozen=True, slots=True)
class Project:
    """A row of `projects`."""

    id: UUID
    number: int  # what its rows have of it
    name: str
    created_at: datetime


def create_project(connection: psycopg.Connection, name: str) -> Project:
    """Store a new project. Raises AlreadyExistsError when the name is taken."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        try:
            row = cursor.execute(_INSERT, (name,)).fetchone()
        except psycopg.errors.UniqueViolation as error:
            raise AlreadyExistsError(f"there is a project named {name!r} already") from error
    assert row is not None  # noqa: S101 - INSERT ... RETURNING gives the row or raises
    return row


def list_projects(connection: psycopg.Connection) -> list[Project]:
    """Return all projects, oldest first."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        return cursor.execute(_SELECT).fetchall()


def find_project(connection: psycopg.Connection, reference: str) -> Project:
    """Return the project of that name or id. Raises NotFoundError when there is none."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        row = cursor.execute(_FIND, {"reference": reference}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no project {reference!r}; `seestack-ingest projects list` shows them")
    return row


async def lookup_project(connection: psycopg.AsyncConnection, project_id: UUID) -> Project | None:
    """Return the project of that id, None when there is none."""
    async with connection.cursor(row_factory=class_row(Project)) as cursor:
        return await (await cursor.execute(_LOOKUP, (project_id,))).fetchone()


def delete_project(connection: psycopg.Connection, project: Project) -> None:
    """Delete a project and its keys, and note that its rows are to go (retention.delete_deleted_projects).

    Raises SchemaError while rows of an earlier version are being moved: they would come to nothing.
    """
    with durable_transaction(connection):
        if connection.execute(_HAS_UNMOVED).fetchone() == (True,):
            raise SchemaError("rows of an earlier version are still being moved: delete the project after that")
        connection.execute(_NOTE_DELETED, (project.number,))
        connection.execute(_DELETE_KEYS, (project.id,))
        connection.execute(_DELETE, (project.id,))
