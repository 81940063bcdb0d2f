"""What tests share: a real Postgres, and real servers started as a user starts them."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings

from storage.embedded.server import EmbeddedServer
from tests.running_server import RunningServer, start_server

# A busy machine may take any time for an example.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """A short-named folder which the user that Postgres runs as can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="seestack-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(data_folder: Path) -> Iterator[EmbeddedServer]:
    """The Postgres server of this test process. It waits for no disk: tests that crash a Postgres have their own."""
    with EmbeddedServer(data_folder / "postgres") as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            for name in ("fsync", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def create_database(postgres: EmbeddedServer) -> Callable[[], str]:
    """Makes empty databases and returns their URLs."""

    def create() -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return postgres.url.replace("/postgres?", f"/{name}?")

    return create


@pytest.fixture
def database_url(create_database: Callable[[], str]) -> str:
    """An empty database of this test's own."""
    return create_database()


@pytest.fixture(scope="session")
def server(create_database: Callable[[], str]) -> Iterator[RunningServer]:
    """A server with one project and key, shared by the tests that only send requests."""
    with start_server(create_database()) as running:
        yield running


@pytest.fixture(scope="session")
def lenient_server(create_database: Callable[[], str]) -> Iterator[RunningServer]:
    """A server in lenient mode."""
    with start_server(create_database(), "--contract", "lenient") as running:
        yield running


@pytest.fixture(autouse=True, scope="session")
def _default_signals() -> None:
    """Give the processes that tests start the signals of a foreground job, also in a script's `&`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    for name in list(os.environ):
        if name.startswith("SEESTACK_"):
            del os.environ[name]
