"""A migrated database, and what talks to it."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from storage.database import connect, open_pool
from storage.embedded import EmbeddedServer
from storage.migrations import migrate
from storage.partitions import ensure_partitions
from storage.writer import EventWriter


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedServer) -> str:
    """The database of the server itself, which tests leave as it is."""
    return postgres.url


@pytest.fixture
def database_url(postgres_url: str, create_database: Callable[[], str]) -> Iterator[str]:
    """An empty database of this test's own. It is dropped, because Postgres stops the slower the more it has."""
    url = create_database()
    yield url
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def migrated_url(database_url: str) -> str:
    """A database of this test's own, with the schema and the partitions around today."""
    with connect(database_url) as connection:
        migrate(connection)
        ensure_partitions(connection, datetime.now(UTC).date())
    return database_url


@pytest.fixture
def connection(migrated_url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection to the migrated database."""
    with connect(migrated_url) as connection:
        yield connection


@pytest.fixture
def pool(migrated_url: str) -> Iterator[ConnectionPool]:
    """A pool as a server's worker process has it."""
    pool = open_pool(migrated_url, size=EventWriter.FLUSHERS + 2, name="tests")
    yield pool
    pool.close()


@pytest.fixture
def writer(pool: ConnectionPool) -> Iterator[EventWriter]:
    """A writer into the migrated database."""
    writer = EventWriter(pool)
    yield writer
    writer.close(timeout_s=10)


@pytest.fixture(scope="session")
def initialised_folder(data_folder: Path) -> Path:
    """The folder of an embedded server that was used and stopped; each test leaves it so."""
    folder = data_folder / "initialised"
    with EmbeddedServer(folder):
        return folder


@pytest.fixture
def folder(data_folder: Path) -> Iterator[Path]:
    """A place, not yet made, for a new embedded server."""
    folder = data_folder / f"own-{uuid4().hex[:8]}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
