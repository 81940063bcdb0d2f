"""A migrated database, and what talks to it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from storage.database import connect
from storage.embedded.server import EmbeddedServer
from storage.spool.spool import Spool
from storage.writing.copier import Copier
from tests.citus.cluster import Cluster
from tests.databases import drop_database
from tests.storage.database_door import DatabaseDoor
from tests.storage.event_loop import EventLoop
from tests.storage.submitting import Writer, open_writer


@pytest.fixture
def database_url(cluster: Cluster | None, create_empty_database: Callable[[], str]) -> Iterator[str]:
    """An empty database of this test's own."""
    with _dropped_at_the_end(create_empty_database(), cluster) as url:
        yield url


@pytest.fixture
def migrated_url(cluster: Cluster | None, create_database: Callable[[], str]) -> Iterator[str]:
    """A database of this test's own, with the schema and the partitions around today."""
    with _dropped_at_the_end(create_database(), cluster) as url:
        yield url


@contextmanager
def _dropped_at_the_end(url: str, cluster: Cluster | None) -> Iterator[str]:
    """Drop a database at the end, because Postgres stops the slower the more it has."""
    yield url
    if cluster is None:
        drop_database(url)
    else:
        cluster.drop_database(url)


@pytest.fixture
def connection(migrated_url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection to the migrated database."""
    with connect(migrated_url) as connection:
        yield connection


@pytest.fixture
def weak_role(migrated_url: str) -> Iterator[str]:
    """A role that may log in and nothing else."""
    role = f"reader_{uuid4().hex[:8]}"
    with psycopg.connect(migrated_url, autocommit=True) as connection:
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
