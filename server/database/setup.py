"""Getting a database ready: finding or starting it, its schema and its partitions."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg

from server.database.nodes import Readiness
from server.database.rollup_upkeep import continue_transactions
from server.settings import Settings
from storage.database import connect, durable_transaction
from storage.distribution.distribute import distribute, require_whole
from storage.embedded.server import EmbeddedServer
from storage.errors import SchemaError
from storage.migrations import migrate, require_current
from storage.partitions import ensure_partitions
from storage.privileges import missing_grants


@contextmanager
def open_database(settings: Settings, *, may_create: bool = False) -> Iterator[tuple[str, EmbeddedServer | None]]:
    """Yield the URL of the database to use, and the embedded server when that is it.

    Raises EmbeddedServerError when it cannot be started, and NoDatabaseError when the data folder has none and this may
    not create one.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value(), None
    else:
        with EmbeddedServer(settings.data_dir, may_create=may_create) as embedded:
            yield embedded.url, embedded


@contextmanager
def connect_current(settings: Settings) -> Iterator[psycopg.Connection]:
    """Yield a connection, in a durable transaction, to the database of `settings`, whose schema is taken as it is.

    Raises StorageError, among others a SchemaError when `migrate` must be run first.
    """
    with connect_in_steps(settings) as connection, durable_transaction(connection):
        yield connection


@contextmanager
def connect_in_steps(settings: Settings) -> Iterator[psycopg.Connection]:
    """Yield what `connect_current` does, but without a transaction: what takes long is done in many short ones."""
    with open_database(settings) as (url, _), connect(url) as connection:
        require_current(connection)
        yield connection


def prepare_rows(connection: psycopg.Connection, coordinator: str | None) -> bool:
    """Distribute a database whose `coordinator` is given, unless it is, and tell whether that was yet to be done.

    Have rows counted on from those that are there: of the database, or of each shard that has come to a node. The
    schema must be up to date. Raises psycopg.Error and StorageError.
    """
    if coordinator is None:
        require_whole(connection)
        continue_transactions(connection)
        return False
    is_new = distribute(connection)
    Readiness(coordinator).keep(connection)
    return is_new


def prepare_schema(connection: psycopg.Connection, coordinator: str | None = None) -> list[str]:
    """Apply the missing migrations, make the missing partitions, and return the names of both.

    If the URL of a `coordinator` is given, which the connection is to, the database is distributed, too.

    Raises SchemaError when the role may not do so, or transactions of others hold a table for long.
    """
    applied = [f"{migration.version:04d}_{migration.name}" for migration in migrate(connection)]
    if prepare_rows(connection, coordinator):
        applied.append("distribution over nodes")
    try:
        return applied + ensure_partitions(connection, datetime.now(UTC).date())
    except psycopg.errors.LockNotAvailable as error:
        raise SchemaError(
            "the migrations are applied, but a partition has to wait for another transaction, maybe a backup: "
            "run this again once it has ended"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise SchemaError(f"role {connection.info.user} may not make partitions: run this as the owner") from error


def require_grants(connection: psycopg.Connection) -> None:
    """Raise SchemaError when the role lacks a privilege that serving needs; the schema must be up to date."""
    if missing := missing_grants(connection):
        raise SchemaError(f"role {connection.info.user} lacks privileges: {'; '.join(map(str, missing))}")
