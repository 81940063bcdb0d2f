"""What pages have a query process do beside queries: logging in, and administration.

HTTP workers hand tasks over as they do queries. That an administrator asks is checked there, by the session.
"""

from typing import TypeAlias
from uuid import UUID

import msgspec

from storage.keys.api_keys import ApiKey, Scope


class LogIn(msgspec.Struct, tag=True):
    """Find a read key that was typed into the login page; the answer is a FoundKey."""

    raw_key: str
    origin: str | None  # of the page, by its Origin header
    address: str  # of the client


class FoundKey(msgspec.Struct):
    """What a session needs to know of a key."""

    digest: bytes
    project_id: UUID
    project_name: str


class ListProjects(msgspec.Struct, tag=True):
    """List all projects, oldest first; the answer is a list of Project."""


class CreateProject(msgspec.Struct, tag=True):
    """Make a project; the answer is a Project."""

    name: str


class ListKeys(msgspec.Struct, tag=True):
    """List the keys of a project, oldest first; the answer is a list of ApiKey."""

    project_id: UUID


class Limits(msgspec.Struct):
    """The limits of a key, as `key_values.to_limits` takes them."""

    requests_per_second: float | None = None
    requests_burst: int | None = None
    rows_per_second: float | None = None
    rows_burst: int | None = None


class CreateKey(msgspec.Struct, tag=True):
    """Make a key; the answer is a CreatedKey."""

    project_id: UUID
    name: str
    scope: Scope
    days: float | None
    origins: list[str]
    limits: Limits


class CreatedKey(msgspec.Struct):
    """A key, and its raw form, which cannot be had again."""

    key: ApiKey
    raw_key: str


class RevokeKey(msgspec.Struct, tag=True):
    """Make a key of a project invalid; the answer is an ApiKey."""

    project_id: UUID
    key_id: UUID


class LimitKey(msgspec.Struct, tag=True):
    """Replace the limits of a key of a project; the answer is an ApiKey."""

    project_id: UUID
    key_id: UUID
    limits: Limits


class DescribeDatabase(msgspec.Struct, tag=True):
    """Tell how the database is; the answer is a DatabaseState."""


class DatabaseState(msgspec.Struct):
    """A database that can be reached."""

    version: str
    size_bytes: int
    connections: int  # of all clients, in this database


Task: TypeAlias = LogIn | ListProjects | CreateProject | ListKeys | CreateKey | RevokeKey | LimitKey | DescribeDatabase
