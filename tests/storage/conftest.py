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

from storage.database import connect
from storage.embedded.server import EmbeddedServer
from storage.migrations import migrate
from storage.partitions import ensure_partitions
from storage.spool.spool import Spool
from storage.writing.copier import Copier
from tests.storage.database_door import DatabaseDoor
from tests.storage.event_loop import EventLoop
from tests.storage.submitting import Writer, open_writer


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
def weak_role(postgres_url: str, migrated_url: str) -> Iterator[str]:
    """A role that may log in and nothing else."""
    role = f"reader_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN".encode())
    yield role
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}".encode())
        connection.execute(f"DROP ROLE {role}".encode())


@pytest.fixture(autouse=True)
def _slow_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests hold the server up, and what is never answered must fail them."""
    monkeypatch.setattr(Copier, "ANSWER_TIMEOUT_S", 3_600.0)


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    """An event loop of this test's own."""
    with EventLoop() as loop:
        yield loop


@pytest.fixture
def door(migrated_url: str, data_folder: Path) -> DatabaseDoor:
    """A way to the migrated database that can be shut."""
    return DatabaseDoor(migrated_url, data_folder)


@pytest.fixture
def writer(loop: EventLoop, migrated_url: str) -> Iterator[Writer]:
    """A writer into the migrated database."""
    with open_writer(loop, migrated_url) as writer:
        yield writer


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty spool."""
    spool = Spool(tmp_path, max_bytes=2**30)
    yield spool
    spool.close()


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
