"""Connections, pools, and whether a batch could be stored now."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from storage.database import check_ready, connect, durable_transaction, open_pool, run
from storage.errors import StorageUnavailableError
from storage.keys.api_keys import create_key, digest_of, lookup_keys
from storage.keys.projects import create_project
from storage.migrations import migrate
from storage.partitions import ensure_partitions
from tests.patience import PATIENCE_S
from tests.storage.database_door import DatabaseDoor
from tests.storage.defaults import set_default
from tests.storage.event_loop import EventLoop
from tests.storage.waiting import terminate_backends, wait_until

Result = TypeVar("Result")


class Pool:
    """A pool as a worker process has it, used from outside its event loop."""

    def __init__(self, loop: EventLoop, url: str) -> None:
        self._loop = loop
        self._pool = loop.call(lambda: open_pool(url, size=2, name="tests"))

    def __enter__(self) -> Self:
        self._loop.run(self._pool.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._pool.close())

    def check_ready(self, timeout_s: float = PATIENCE_S) -> None:
        self._loop.run(check_ready(self._pool, timeout_s))

    def run(
        self, action: Callable[[psycopg.AsyncConnection], Awaitable[Result]], timeout_s: float = PATIENCE_S
    ) -> Result:
        return self._loop.run(run(self._pool, action, timeout_s))

    def setting(self, name: str) -> str:
        """Return a setting that is in effect in the pool's connections."""

        async def show(connection: psycopg.AsyncConnection) -> str:
            row = await (await connection.execute("SELECT current_setting(%s)", (name,))).fetchone()
            assert row is not None
            return str(row[0])

        return self.run(show)


@pytest.mark.parametrize(
    ("default", "effective"), [("off", "on"), ("on", "on"), ("local", "local"), ("remote_write", "remote_write")]
)
def test_the_commit_of_a_durable_transaction_waits_for_the_disk(
    database_url: str, default: str, effective: str
) -> None:
    set_default(database_url, "synchronous_commit", default)
    with connect(database_url) as connection:
        for _ in range(2):
            with durable_transaction(connection):
                assert connection.execute("SHOW synchronous_commit").fetchone() == (effective,)
            # A pooler's next client must find what it expects.
            assert connection.execute("SHOW synchronous_commit").fetchone() == (default,)


def test_a_part_of_a_transaction_that_is_rolled_back_leaves_the_rest_durable(database_url: str) -> None:
    set_default(database_url, "synchronous_commit", "off")
    with connect(database_url) as connection, durable_transaction(connection):
        with connection.transaction(force_rollback=True):
            connection.execute("SELECT 1")
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_connections_name_themselves(loop: EventLoop, database_url: str) -> None:
    with Pool(loop, database_url) as pool:
        assert pool.setting("application_name") == "seestack-ingest tests"
    with connect(database_url) as connection:
        assert connection.execute("SHOW application_name").fetchone() == ("seestack-ingest",)
        assert connection.autocommit


def test_a_database_with_another_date_style_and_time_zone_can_be_used(loop: EventLoop, database_url: str) -> None:
    set_default(database_url, "datestyle", "SQL, DMY")
    set_default(database_url, "timezone", "Asia/Kolkata")
    with connect(database_url) as connection:
        migrate(connection)
        assert len(ensure_partitions(connection, datetime.now(UTC).date())) == 15
        key, raw_key = create_key(connection, create_project(connection, "shop").id, "default")
    digest = digest_of(raw_key)
    with Pool(loop, database_url) as pool:
        found = pool.run(partial(lookup_keys, digests=[digest]))
    assert (found[digest].id, found[digest].created_at) == (key.id, key.created_at)


def test_a_database_that_can_store_is_ready(loop: EventLoop, migrated_url: str) -> None:
    with Pool(loop, migrated_url) as pool:
        pool.check_ready()


def test_a_database_is_ready_again_after_its_connections_were_lost(
    loop: EventLoop, connection: psycopg.Connection, migrated_url: str
) -> None:
    with Pool(loop, migrated_url) as pool:
        pool.check_ready()
        assert terminate_backends(connection) > 0
        pool.check_ready()


def test_a_query_that_is_not_answered_is_given_up_in_time(loop: EventLoop, migrated_url: str) -> None:
    async def ask_slowly(connection: psycopg.AsyncConnection) -> None:
        await connection.execute("SELECT pg_sleep(3600)")

    with Pool(loop, migrated_url) as pool:
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            pool.run(ask_slowly, timeout_s=0.5)
        pool.check_ready()


def test_a_database_without_the_table_is_not_ready(loop: EventLoop, database_url: str) -> None:
    with Pool(loop, database_url) as pool, pytest.raises(StorageUnavailableError, match="http_request_rows"):
        pool.check_ready()


def test_a_read_only_database_is_not_ready(loop: EventLoop, migrated_url: str) -> None:
    set_default(migrated_url, "default_transaction_read_only", "on")
    with Pool(loop, migrated_url) as pool, pytest.raises(StorageUnavailableError, match="read-only"):
        pool.check_ready()


def test_a_database_that_lets_this_role_not_insert_is_not_ready(
    loop: EventLoop, migrated_url: str, weak_role: str
) -> None:
    with Pool(loop, make_conninfo(migrated_url, user=weak_role)) as pool, pytest.raises(StorageUnavailableError):
        pool.check_ready()


def test_a_database_that_cannot_be_reached_is_not_ready(loop: EventLoop, data_folder: Path) -> None:
    with Pool(loop, f"postgresql:///none?host={data_folder}") as pool:
        with pytest.raises(StorageUnavailableError, match="cannot be reached") as raised:
            pool.check_ready(timeout_s=0.2)
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.one_postgres("the door is a folder of sockets, a cluster has none")
def test_a_pool_made_while_the_database_is_down_works_once_it_is_there(loop: EventLoop, door: DatabaseDoor) -> None:
    door.shut()
    with Pool(loop, door.url) as pool:
        assert not is_ready(pool)
        door.open()
        wait_until(lambda: is_ready(pool))


def is_ready(pool: Pool) -> bool:
    try:
        pool.check_ready(timeout_s=1.0)
    except StorageUnavailableError:
        return False
    return True


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
