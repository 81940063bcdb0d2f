"""Databases for tests: empty ones, and copies of one with the schema, which take a third of the CPU of migrations."""

from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from server.database.nodes import coordinator_of
from server.database.setup import prepare_schema
from server.settings import load_settings
from storage.database import connect
from tests.citus.cluster import Cluster


def prepare_database(url: str) -> None:
    """Bring the schema of a database up to date."""
    with connect(url) as connection:
        prepare_schema(connection, coordinator_of(load_settings(), url))


def copies_of(url: str, cluster: Cluster | None = None) -> Callable[[], str]:
    """Return what makes copies of a database, each with an identity of its own, and returns their URLs.

    If a `cluster` is given, it has the database.
    """
    # One with connections, as autovacuum opens them, cannot be copied.
    template = _close(url) if cluster is None else cluster.close_database(url)

    def create() -> str:
        copy = copy_database(url, template) if cluster is None else cluster.copy_database(template)
        with psycopg.connect(copy) as connection:
            connection.execute("UPDATE database_identity SET id = %s", (uuid4(),))
        return copy

    return create


def copy_database(url: str, template: str) -> str:
    """Copy the database `template` of the server of `url`, and return the URL of the copy."""
    name = f"test_{uuid4().hex}"
    _run(url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return _in_database(url, name)


def drop_database(url: str) -> None:
    """Drop the database of a URL."""
    _run(url, f"DROP DATABASE {urlsplit(url).path.removeprefix('/')} WITH (FORCE)")


def _close(url: str) -> str:
    """Let nobody connect to a database any more, and return its name."""
    name = urlsplit(url).path.removeprefix("/")
    _run(url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    return name


def _run(url: str, statement: str) -> None:
    with psycopg.connect(_in_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())


def _in_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()
