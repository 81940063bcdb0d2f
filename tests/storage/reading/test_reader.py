"""The time limit of a query, the connections that it leaves behind, and their priority."""

from collections.abc import Iterator

import pytest

from storage.errors import QueryTooLongError, StorageUnavailableError
from storage.reading.reader import Reader
from storage.reading.transaction import Transaction
from tests.storage.event_loop import EventLoop
from tests.storage.priorities import assert_gives_way


async def open_reader(url: str, timeout_s: float) -> Reader:
    reader = Reader(url, name="tests", timeout_s=timeout_s)
    await reader.open()
    return reader


@pytest.fixture
def reader(loop: EventLoop, migrated_url: str) -> Iterator[Reader]:
    reader = loop.run(open_reader(migrated_url, 0.2))
    yield reader
    loop.run(reader.close(1.0))


async def sleep(transaction: Transaction) -> object:
    return await transaction.rows("SELECT pg_sleep(60)", {})


async def write(transaction: Transaction) -> object:
    return await transaction.rows("CREATE TABLE written (id int)", {})


async def ask_for_backend(transaction: Transaction) -> int:
    (row,) = await transaction.rows("SELECT pg_backend_pid() AS pid", {})
    return int(row["pid"])


async def ask(transaction: Transaction) -> object:
    return await transaction.rows("SELECT 1 AS one", {})


def test_a_query_that_takes_too_long_is_stopped_once_and_its_connection_is_used_again(
    loop: EventLoop, reader: Reader
) -> None:
    for _ in range(2 * Reader.CONNECTIONS):
        with pytest.raises(QueryTooLongError):
            loop.run(reader.read(sleep, 1))
    assert loop.run(reader.read(ask, 1)) == [{"one": 1}]


def test_a_query_writes_nothing(loop: EventLoop, reader: Reader) -> None:
    with pytest.raises(Exception, match="read-only transaction"):
        loop.run(reader.read(write, 1))
    assert loop.run(reader.read(ask, 1)) == [{"one": 1}]


@pytest.mark.one_postgres("nodes are connected to over TCP, as on other machines")
def test_a_backend_on_this_machine_gives_way_to_writers(loop: EventLoop, reader: Reader) -> None:
    backend = loop.run(reader.read(ask_for_backend, 1))
    assert_gives_way(backend)


def test_a_database_that_is_down_is_said_to_be(loop: EventLoop) -> None:
    reader = loop.run(open_reader("postgresql://postgres@/postgres?host=/nonexistent", 0.2))
    with pytest.raises(StorageUnavailableError):
        loop.run(reader.read(ask, 1))
    loop.run(reader.close(1.0))
