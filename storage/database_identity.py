"""The identity of a database: an id that it holds itself; while it is down, its location."""

from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from storage.errors import SchemaError

_IDENTITY = "SELECT id FROM database_identity"
DEFAULT_PORT = "5432"


def read_identity(connection: psycopg.Connection) -> UUID:
    """Return the identity of a database whose schema is up to date. Raises SchemaError when it is not."""
    try:
        return _identity_of(connection.execute(_IDENTITY).fetchone())
    except psycopg.errors.UndefinedTable:
        raise _not_migrated() from None


async def read_identity_async(connection: psycopg.AsyncConnection) -> UUID:
    """Return what `read_identity` does."""
    try:
        return _identity_of(await (await connection.execute(_IDENTITY)).fetchone())
    except psycopg.errors.UndefinedTable:
        raise _not_migrated() from None


def location_of(url: str) -> str:
    """Return `host:port/name` of a libpq URL, without user and password, which may change."""
    parts = conninfo_to_dict(url)
    host = parts.get("host") or parts.get("hostaddr") or ""
    return f"{host}:{parts.get('port') or DEFAULT_PORT}/{parts.get('dbname') or parts.get('user') or ''}"


def _identity_of(row: TupleRow | None) -> UUID:
    if row is None or not isinstance(row[0], UUID):
        raise SchemaError("the database has lost its identity: the table database_identity has no row")
    return row[0]


def _not_migrated() -> SchemaError:
    return SchemaError("the schema is not up to date: run `seestack-ingest migrate`")
