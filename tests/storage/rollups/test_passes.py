"""Queries wait for a pass where rollups lack many rows: it has all that was stored before, and nothing is missing."""

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

import server.database.rollup_upkeep
import storage.reading.newer_rows
import storage.reading.passes
from server.database.rollup_keeper import RESTED_S, RESTLESS_S, rest_share
from server.database.rollup_upkeep import RollupUpkeep
from storage.database import connect
from storage.reading.filters import SLOW_MS, Filter
from storage.reading.narrowing import narrow
from storage.reading.parts import GroupBy
from storage.reading.question import Groups, Question
from storage.reading.reader import Reader
from storage.reading.rows import count_rows, list_rows
from storage.reading.sources import read_groups
from storage.reading.transaction import Newest, Transaction
from storage.rollups.requests import PassRequests, ask_for_pass
from storage.rollups.summing import REFERENCE
from tests.patience import PATIENCE_S
from tests.process.polling import wait_until
from tests.storage.event_loop import EventLoop
from tests.storage.rollups.model import insert_random_rows
from tests.storage.rollups.test_newer_rows import wait_until_final
from tests.storage.rollups.test_rolling import assert_exact, reached_end
from tests.storage.rollups.test_sources import FILTERS, first_of, random_filter, sums_of_rows

pytestmark = pytest.mark.one_postgres("rollups are kept shard by shard there, see tests/citus")

PROJECTS = (1, 2, 3)
START, END = datetime(1960, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.reading.newer_rows, "FEW_ROWS", 3)


@pytest.fixture
def upkeep(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RollupUpkeep]:
    """Rollups that are kept when somebody asks."""
    monkeypatch.setattr(server.database.rollup_upkeep, "INTERVAL_S", 600.0)
    upkeep = RollupUpkeep(migrated_url, REFERENCE, None)
    yield upkeep
    upkeep.stop()


def reading(url: str, ask_fd: int) -> Reader:
    return Reader(url, name="test", timeout_s=60, ask_fd=ask_fd)


async def count_all(transaction: Transaction, project: int) -> int:
    groups = await read_groups(transaction, Question(Filter(project, START, END), GroupBy.NOTHING, SLOW_MS))
    return sum(sums.requests for sums in groups.values())


def ask_each(loop: EventLoop, reader: Reader) -> list[int]:
    """Return how many rows each project has, as the reader says."""

    def ask(project: int) -> int:
        return loop.run(reader.read(lambda transaction: count_all(transaction, project), project))

    loop.run(reader.open())
    try:
        return [ask(project) for project in PROJECTS]
    finally:
        loop.run(reader.close(5))


def stored(connection: psycopg.Connection) -> list[int]:
    query = """SELECT count(*) FROM http_request_rows WHERE project = %s AND "timestamp" >= %s AND "timestamp" < %s"""
    return [(connection.execute(query, (project, START, END)).fetchone() or (0,))[0] for project in PROJECTS]


def test_many_new_rows_are_summed_up_by_a_pass_that_a_query_asks_for(
    connection: psycopg.Connection,
    migrated_url: str,
    loop: EventLoop,
    upkeep: RollupUpkeep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage.reading.passes, "LONGEST_S", PATIENCE_S)
    # Transactions of other databases in the same cluster hold the mark up, too.
    monkeypatch.setattr(storage.reading.passes, "LONGEST_OPEN_S", PATIENCE_S)
    source = random.Random(1)
    insert_random_rows(connection, source, 30)
    ask_for_pass(upkeep.ask_fd)
    wait_until(lambda: reached_end(connection), "the rollups are begun")
    insert_random_rows(connection, source, 90)
    assert ask_each(loop, reading(migrated_url, upkeep.ask_fd)) == stored(connection)
    assert reached_end(connection)
    assert_exact(connection)


def test_after_many_rows_few_are_read_and_many_waited_for(
    connection: psycopg.Connection,
    migrated_url: str,
    loop: EventLoop,
    upkeep: RollupUpkeep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage.reading.passes, "LONGEST_OPEN_S", PATIENCE_S)
    source = random.Random(2)
    reader = reading(migrated_url, upkeep.ask_fd)
    tried: list[int] = []
    read = storage.reading.newer_rows._read_newer

    async def note(*arguments: Any) -> Any:
        tried.append(arguments[-1])
        return await read(*arguments)

    monkeypatch.setattr(storage.reading.newer_rows, "_read_newer", note)

    def roll_all() -> None:
        ask_for_pass(upkeep.ask_fd)
        wait_until(lambda: reached_end(connection), "the rows are summed up")

    def ask(transactions: int) -> list[int]:
        for _ in range(transactions):
            insert_random_rows(connection, source, 4)
        tried.clear()
        answer = loop.run(reader.read(lambda transaction: count_all(transaction, 1), 1))
        assert answer == stored(connection)[0]
        return list(tried)

    insert_random_rows(connection, source, 30)
    roll_all()
    wait_until_final(connection)
    loop.run(reader.open())
    loop.run(reader.pool.wait())  # with each new connection, what is remembered is forgotten
    assert ask(20) == [3]  # they are more than few, and a pass has them
    memory = reader._memories._projects[1]
    assert memory.many_transactions >= 20
    roll_all()
    memory.many_transactions = 20  # other databases in the same cluster may have had some
    assert ask(20) == []
    roll_all()
    monkeypatch.setattr(storage.reading.newer_rows, "FEW_ROWS", 100)
    memory.many_transactions = 10_000
    assert ask(1) == [100]
    loop.run(reader.close(5))


def test_answers_beside_passes_and_open_transactions_are_exact_and_fresh(
    connection: psycopg.Connection,
    migrated_url: str,
    loop: EventLoop,
    upkeep: RollupUpkeep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage.reading.passes, "LONGEST_OPEN_S", 0.2)
    monkeypatch.setattr(storage.reading.passes, "IN_VAIN_S", 0.0)
    source = random.Random(8)
    insert_random_rows(connection, source, 30)
    ask_for_pass(upkeep.ask_fd)
    wait_until(lambda: reached_end(connection), "the rollups are begun")
    reader = reading(migrated_url, upkeep.ask_fd)
    seen: set[Newest] = set()

    async def compare(transaction: Transaction) -> Groups:
        seen.add(transaction.newest)
        question = Question(Filter(1, START, END), GroupBy.PATH, SLOW_MS)
        wanted = await sums_of_rows(transaction, question._replace(rows=transaction.seen(question.rows)))
        found = await read_groups(transaction, question)
        assert found == first_of(wanted, None, 0)
        return found

    async def ask_some() -> list[int]:
        answers = await asyncio.gather(*(reader.read(compare, 1) for _ in range(4)))
        return [sum(sums.requests for sums in groups.values()) for groups in answers]

    loop.run(reader.open())
    with connect(migrated_url) as other:
        for number in range(12):
            insert_random_rows(connection, source, source.randrange(20, 40))
            if number % 4 == 1:
                other.execute("BEGIN")
                insert_random_rows(other, source, 5)
            elif number % 4 == 2:
                other.execute("COMMIT")
            acknowledged = stored(connection)[0]
            assert loop.run(ask_some()) == [acknowledged] * 4
    loop.run(reader.close(5))
    assert seen >= {Newest.READ_FEW, Newest.LEAVE_OUT}


def test_where_nobody_makes_a_pass_queries_read_the_rows_and_wait_no_more(
    connection: psycopg.Connection, migrated_url: str, loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.reading.passes, "LONGEST_S", 0.3)
    monkeypatch.setattr(storage.reading.passes, "LONGEST_OPEN_S", 0.3)
    waits: list[int] = []
    wait = storage.reading.passes.Passes.wait

    async def note(self: storage.reading.passes.Passes, wanted: int) -> bool:
        waits.append(wanted)
        return await wait(self, wanted)

    monkeypatch.setattr(storage.reading.passes.Passes, "wait", note)
    connection.execute("UPDATE rollup_state SET mark = 1")
    insert_random_rows(connection, random.Random(1), 90)
    assert ask_each(loop, reading(migrated_url, PassRequests().ask_fd)) == stored(connection)
    assert len(waits) == 1


def test_a_long_transaction_keeps_no_query_waiting(
    connection: psycopg.Connection,
    migrated_url: str,
    loop: EventLoop,
    upkeep: RollupUpkeep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage.reading.passes, "LONGEST_S", PATIENCE_S)
    source = random.Random(1)
    with connect(migrated_url) as other:
        other.execute("BEGIN")
        insert_random_rows(other, source, 3)
        insert_random_rows(connection, source, 90)
        connection.execute("UPDATE rollup_state SET mark = 1 WHERE mark = 0")
        began_at = time.monotonic()
        assert ask_each(loop, reading(migrated_url, upkeep.ask_fd)) == stored(connection)
        assert time.monotonic() - began_at < PATIENCE_S
        other.execute("ROLLBACK")


def test_whoever_waits_too_long_for_passes_that_are_made_keeps_nobody_from_waiting(
    connection: psycopg.Connection, migrated_url: str, loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.reading.passes, "LONGEST_S", 0.3)
    monkeypatch.setattr(storage.reading.passes, "LONGEST_OPEN_S", 0.3)
    reader = reading(migrated_url, PassRequests().ask_fd)
    passes = reader._passes
    assert passes is not None

    async def act() -> None:
        await reader.open()
        waiting = asyncio.create_task(passes.wait(2**60))
        mark = 0
        while not waiting.done():
            mark += 1
            await asyncio.to_thread(connection.execute, "UPDATE rollup_state SET mark = %s", (mark,))
        assert not waiting.result()
        assert passes.are_made
        for _ in range(2):  # the mark may have moved once more before the first of them
            assert not await passes.wait(2**60)
        assert not passes.are_made
        await reader.close(5)

    loop.run(act())


def test_an_answer_without_the_newest_rows_has_none_of_them(
    connection: psycopg.Connection, migrated_url: str, loop: EventLoop, upkeep: RollupUpkeep
) -> None:
    """Also not in the parts of a range that are read from rows."""
    source = random.Random(6)
    insert_random_rows(connection, source, 150)
    wait_until_final(connection)
    ask_for_pass(upkeep.ask_fd)
    wait_until(lambda: reached_end(connection), "the rows are summed up")
    insert_random_rows(connection, source, 60)
    reader = reading(migrated_url, upkeep.ask_fd)

    async def compare(transaction: Transaction) -> None:
        assert transaction.newest is Newest.LEAVE_OUT
        for _ in range(40):
            question = Question(random_filter(source), source.choice(list(GroupBy)), SLOW_MS, 3_600)
            wanted = await sums_of_rows(transaction, question._replace(rows=transaction.seen(question.rows)))
            assert await read_groups(transaction, question) == first_of(wanted, None, 0), question

    async def compare_lists(transaction: Transaction) -> None:
        for _ in range(30):
            filters: dict[str, Any] = {"host": source.choice(FILTERS["host"]), "path": source.choice((None, "orders"))}
            rows = Filter(source.choice(PROJECTS), START, END, **filters)
            narrowed = await narrow(transaction, rows)
            found = await list_rows(transaction, rows, narrowed, limit=1_000)
            assert await count_rows(transaction, rows, narrowed) == (len(found), True)

    async def act() -> None:
        await reader.open()
        for action in (compare, compare_lists):
            await reader._read(action, None, Newest.LEAVE_OUT)
        await reader.close(5)

    loop.run(act())


def test_a_pass_rests_less_the_further_it_is_behind() -> None:
    shares = [rest_share(lag_s) for lag_s in (0.0, RESTED_S, (RESTED_S + RESTLESS_S) / 2, RESTLESS_S, 60.0)]
    assert shares == [1, 1, 0.5, 0, 0]


def test_what_was_asked_for_is_asked_for_until_it_is_taken() -> None:
    requests = PassRequests()
    assert not requests.is_asked
    for _ in range(100_000):  # more than the pipe has room for
        ask_for_pass(requests.ask_fd)
    requests.wait(60)
    assert requests.is_asked
    while requests.is_asked:
        requests.take()
    ask_for_pass(requests.ask_fd)
    assert requests.is_asked
