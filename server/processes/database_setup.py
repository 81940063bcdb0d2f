"""Getting a database ready: finding or starting it, its schema and its partitions."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg

from server.settings import Settings
from storage.database import connect
from storage.embedded.server import EmbeddedServer
from storage.migrations import migrate
from storage.partitions import ensure_partitions


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
