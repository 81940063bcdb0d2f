"""Connections, pools, and whether a batch could be stored now."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from storage.api_keys import create_key, list_keys
from storage.database import check_ready, connect, open_pool
from storage.errors import StorageUnavailableError
from storage.migrations import migrate
from storage.partitions import ensure_partitions
from storage.projects import create_project
from storage.writer import EventWriter
from tests.storage.defaults import set_default
from tests.storage.rows import encoded
from tests.storage.submitting import submit
from tests.storage.waiting import terminate_pool_backends


def pool_to(url: str) -> "closing[ConnectionPool]":
    return closing(open_pool(url, size=2, name="own"))


def setting(pool: ConnectionPool, name: str) -> str:
    with pool.connection() as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def weak_role(postgres_url: str) -> Iterator[str]:
    """A role that may log in and nothing else."""
    role = f"reader_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        yield role
        connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("default", "effective"), [("off", "on"), ("on", "on"), ("local", "local"), ("remote_write", "remote_write")]
)
def test_commits_of_a_pool_wait_for_the_disk(database_url: str, default: str, effective: str) -> None:
    set_default(database_url, "synchronous_commit", default)
    with pool_to(database_url) as pool:
        assert setting(pool, "synchronous_commit") == effective
        assert setting(pool, "synchronous_commit") == effective


def test_commits_stay_durable_after_a_rolled_back_transaction(database_url: str) -> None:
    set_default(database_url, "synchronous_commit", "off")
    with pool_to(database_url) as pool:
        with pool.connection() as connection, connection.transaction(force_rollback=True):
            connection.execute("SELECT 1")
        assert setting(pool, "synchronous_commit") == "on"


def test_connections_name_themselves(database_url: str) -> None:
    with pool_to(database_url) as pool:
        assert setting(pool, "application_name") == "seestack-ingest own"
    with connect(database_url) as connection:
        assert connection.execute("SHOW application_name").fetchone() == ("seestack-ingest",)
        assert connection.autocommit


def test_a_database_with_another_date_style_and_time_zone_can_be_used(database_url: str) -> None:
    set_default(database_url, "datestyle", "SQL, DMY")
    set_default(database_url, "timezone", "Asia/Kolkata")
    with connect(database_url) as connection:
        migrate(connection)
        assert len(ensure_partitions(connection, datetime.now(UTC).date())) == 15
        key, _ = create_key(connection, create_project(connection, "shop").id, "default")
    with pool_to(database_url) as pool, pool.connection() as pooled:
        assert list_keys(pooled) == [key]


def test_a_database_that_can_store_is_ready(pool: ConnectionPool) -> None:
    check_ready(pool)


def test_a_database_is_ready_again_after_its_connections_were_lost(
    connection: psycopg.Connection, pool: ConnectionPool, writer: EventWriter
) -> None:
    assert submit(writer, encoded()).result(20) == 1
    check_ready(pool)
    assert terminate_pool_backends(connection) > 0
    check_ready(pool)


def test_a_database_without_the_table_is_not_ready(database_url: str) -> None:
    with pool_to(database_url) as pool, pytest.raises(StorageUnavailableError, match="http_requests"):
        check_ready(pool)


def test_a_read_only_database_is_not_ready(migrated_url: str) -> None:
    set_default(migrated_url, "default_transaction_read_only", "on")
    with pool_to(migrated_url) as pool, pytest.raises(StorageUnavailableError, match="read-only"):
        check_ready(pool)


def test_a_database_that_lets_this_role_not_insert_is_not_ready(migrated_url: str, weak_role: str) -> None:
    with pool_to(make_conninfo(migrated_url, user=weak_role)) as pool, pytest.raises(StorageUnavailableError):
        check_ready(pool)


def test_a_database_that_cannot_be_reached_is_not_ready(data_folder: Path) -> None:
    with pool_to(f"postgresql:///none?host={data_folder}") as pool:
        with pytest.raises(StorageUnavailableError, match="cannot be reached") as raised:
            check_ready(pool, timeout_s=0.2)
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///none?host=/nowhere",
        "postgresql://user@127.0.0.1:1/none",
        "postgresql://user@localhost:1/none",
        "postgresql://user@nowhere.invalid/none",
        "postgresql://user@[::1/none",
        "postgresql:///none?unknown=1",
        "postgresql:///none?host=/nowhere&port=text",
    ],
)
def test_a_connection_that_fails_is_explained_in_one_line(url: str) -> None:
    with pytest.raises(StorageUnavailableError) as raised, connect(url):
        pass
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("cannot connect to the database: ")
    assert len(message) > len("cannot connect to the database: ")


def test_a_database_that_does_not_exist_is_named(postgres_url: str) -> None:
    url = make_conninfo(postgres_url, dbname="no_such_database")
    with pytest.raises(StorageUnavailableError, match='"no_such_database" does not exist'), connect(url):
        pass


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2secret@127.0.0.1:1/none",
        "postgresql://user:hunter2secret@[::1/none",
        "postgresql://user:hunter2secret%zz@127.0.0.1:1/none",
        "postgresql://user:hunter2secret more@127.0.0.1:1/none",
        "postgresql://user:hunter2secret@127.0.0.1:1/none?unknown=1",
        "postgresql://user@127.0.0.1:1/none?password=hunter2secret%zz",
    ],
    ids=["refused", "host", "percent sign", "space", "unknown parameter", "password parameter"],
)
def test_a_connection_that_fails_does_not_tell_the_password(url: str) -> None:
    with pytest.raises(StorageUnavailableError) as raised, connect(url):
        pass
    assert "hunter2secret" not in str(raised.value)
