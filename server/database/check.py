"""What `check` says of the database: it tries what `serve` will do, changes nothing, and locks no table in use."""

import os
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from server.database.connection_count import connections_needed
from server.database.setup import open_database, require_grants
from server.settings import Settings
from storage.database import connect, connections_allowed, is_pooled, require_writable
from storage.errors import EmbeddedServerError, NoDatabaseError, SchemaError, StorageUnavailableError
from storage.migrations import has_history, missing_migrations, rehearse
from storage.partitions import days_due
from storage.privileges import owns_schema
from storage.rows_before import BLOCK_BYTES, unmoved_partitions


def check_database(settings: Settings) -> str:
    """Return what was found, in one line. Raises StorageError saying why `serve` could not store with it."""
    try:
        with open_database(settings) as (url, embedded), connect(url) as connection:
            kind = "embedded" if embedded is not None else "given"
            return f"{kind}, {_check_connected(connection, settings)}"
    except NoDatabaseError:
        _require_makeable(settings.data_dir)
        return f"embedded, none yet in {settings.data_dir}: `serve` will make one"


def _require_makeable(folder: Path) -> None:
    """Raise EmbeddedServerError when a data folder is none, or cannot be made or written."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise EmbeddedServerError(f"{nearest} is not a folder; choose another with SEESTACK_DATA_DIR (--data-dir)")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise EmbeddedServerError(f"{nearest} cannot be written; choose another with SEESTACK_DATA_DIR (--data-dir)")


def _check_connected(connection: psycopg.Connection, settings: Settings) -> str:
    version = connection.info.parameter_status("server_version")
    require_writable(connection)
    return "; ".join([f"Postgres {version}", *_check_schema(connection), _check_connections(connection, settings)])


def _check_schema(connection: psycopg.Connection) -> list[str]:
    if not has_history(connection):
        rehearse(connection)
        return ["`serve` will make the schema"]
    if missing := missing_migrations(connection):
        if not owns_schema(connection):
            raise SchemaError(
                f"{len(missing)} migrations are to be applied, and role {connection.info.user} does not own the tables "
                "or may not create any: run `seestack-ingest migrate` as their owner"
            )
        return [f"`serve` will apply {len(missing)} migrations"]
    require_grants(connection)
    if not owns_schema(connection):
        return [
            f"schema up to date; role {connection.info.user} may not make partitions: run `seestack-ingest migrate` as "
            "the tables' owner every day"
        ]
    unmoved = sum(blocks for _, blocks in unmoved_partitions(connection) or [])
    due = len(days_due(connection, datetime.now(UTC).date()))
    return [
        "schema up to date",
        *([f"`serve` will make {due} partitions"] if due else []),
        *([f"`serve` moves rows of an earlier version, {unmoved * BLOCK_BYTES:,} bytes"] if unmoved else []),
    ]


def _check_connections(connection: psycopg.Connection, settings: Settings) -> str:
    needed = connections_needed(settings)
    if is_pooled(connection):
        return f"behind a connection pooler, which must allow {needed} connections of clients"
    allowed = connections_allowed(connection)
    if needed > allowed:
        raise StorageUnavailableError(
            f"the server may open {needed} connections, and Postgres allows this role {allowed}: use fewer workers, "
            "raise max_connections, or put PgBouncer in between"
        )
    return f"at most {needed} of the {allowed} connections that this role may open"
