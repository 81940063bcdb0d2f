"""What tests share: a real Postgres, and real servers started as a user starts them."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from storage.embedded.server import EmbeddedServer
from tests.citus.cluster import VARIABLE, Cluster, running_cluster
from tests.databases import copies_of, copy_database, prepare_database
from tests.running_server import RunningServer, start_server

# A busy machine may take any time for an example.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that are about one Postgres, when the others are to have a cluster of Citus."""
    for item in items:
        marker = item.get_closest_marker("one_postgres")
        if marker is not None and VARIABLE in os.environ:
            item.add_marker(pytest.mark.skip(f"of one Postgres: {marker.args[0]}"))


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
def citus() -> Iterator[Cluster]:
    """A cluster of Citus: a coordinator and two nodes. Skips the test when no installation is named."""
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no Postgres with Citus")
    with running_cluster(Path(os.environ[VARIABLE]), nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster | None:
    """The cluster of Citus that has the databases of tests, if an installation is named."""
    return request.getfixturevalue("citus") if VARIABLE in os.environ else None


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest, cluster: Cluster | None) -> str:
    """The database of the server itself, which tests leave as it is."""
    return str(request.getfixturevalue("postgres").url) if cluster is None else cluster.coordinator.url()


@pytest.fixture(scope="session")
def create_empty_database(postgres_url: str, cluster: Cluster | None) -> Callable[[], str]:
    """Makes empty databases and returns their URLs."""
    if cluster is None:
        return lambda: copy_database(postgres_url, "template1")
    template = cluster.close_database(cluster.create_database())
    return lambda: cluster.copy_database(template)


@pytest.fixture(scope="session")
def create_database(create_empty_database: Callable[[], str], cluster: Cluster | None) -> Callable[[], str]:
    """Makes databases as `migrate` leaves them and returns their URLs."""
    url = create_empty_database()
    prepare_database(url)
    return copies_of(url, cluster)


@pytest.fixture
def empty_database_url(create_empty_database: Callable[[], str]) -> str:
    """An empty database of this test's own."""
    return create_empty_database()


@pytest.fixture
def database_url(create_database: Callable[[], str]) -> str:
    """A database of this test's own, as `migrate` leaves it."""
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
    if VARIABLE in os.environ:
        os.environ["SEESTACK_DISTRIBUTED"] = "citus"
