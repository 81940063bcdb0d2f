"""What a process remembers between queries changes no answer, whatever rows, transactions and passes come meanwhile."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

import storage.reading.newer_rows
from server.compiled.aggregator import choose_adding
from server.settings import Compiled
from storage.database import connect
from storage.errors import QueryTooLongError, StorageUnavailableError
from storage.reading.filters import SLOW_MS, Filter
from storage.reading.memory import Memories
from storage.reading.parts import GroupBy
from storage.reading.question import Question
from storage.reading.reader import Reader
from storage.reading.sources import read_groups
from storage.reading.transaction import Transaction
from storage.rollups.rolling import Roller
from storage.rollups.state import begin_again, read_state
from storage.rollups.summing import REFERENCE
from tests.storage.event_loop import EventLoop
from tests.storage.rollups.model import insert_random_rows
from tests.storage.rollups.test_sources import EARLIER, first_of, random_filter, sums_of_rows

pytestmark = pytest.mark.one_postgres(
    "rollups are kept, and added to newer rows, shard by shard there, see tests/citus and tests/query"
)

STEPS = 120
IS_FINAL = """
SELECT max(transaction) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM http_request_rows
"""
LOSE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
 WHERE application_name = 'seestack-ingest test' AND datname = current_database()
"""


def ask(source: random.Random) -> Question:
    rows = random_filter(source)
    return Question(rows, source.choice(list(GroupBy)), SLOW_MS, source.choice((60, 3_600, 86_400)))


def everything() -> Question:
    start, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (1960, 2100))
    return Question(Filter(1, start, end), GroupBy.PATH, SLOW_MS)


async def compare(transaction: Transaction, question: Question) -> None:
    wanted = await sums_of_rows(transaction, question)
    found = await read_groups(transaction, question)
    assert found == first_of(wanted, None, 0), question


@pytest.mark.parametrize("setting", Compiled)
def test_what_is_remembered_changes_no_answer(
    connection: psycopg.Connection,
    migrated_url: str,
    loop: EventLoop,
    monkeypatch: pytest.MonkeyPatch,
    setting: Compiled,
) -> None:
    monkeypatch.setattr(storage.reading.newer_rows, "ROWS_AT_ONCE", 3)
    source = random.Random(7)
    connection.execute(EARLIER)
    insert_random_rows(connection, source, 60)
    roller = Roller(REFERENCE)
    roller.roll(connection)
    reader = Reader(migrated_url, name="test", timeout_s=60, adding=choose_adding(setting))
    seen: Counter[str] = Counter()

    async def compare_one(question: Question) -> None:
        await reader.read(lambda transaction: compare(transaction, question), 1)

    async def compare_some() -> None:
        await asyncio.gather(*(compare_one(ask(source)) for _ in range(4)))

    with connect(migrated_url) as other:
        loop.run(reader.open())
        try:
            for number in range(STEPS):
                step = source.choice(("rows",) * 5 + ("begin",) * 2 + ("end", "pass", "pass", "again", "lost"))
                seen[step] += 1
                if step == "rows":
                    insert_random_rows(connection, source, source.randrange(1, 9))
                elif step == "begin" and other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                    other.execute("BEGIN")
                    insert_random_rows(other, source, 3)
                elif step == "end":
                    other.execute(source.choice(("COMMIT", "ROLLBACK")))
                elif step == "pass":
                    roller.roll(connection)
                elif step == "again":
                    begin_again(connection)
                elif step == "lost":
                    connection.execute(LOSE)
                if number % 3 == 2:
                    loop.run(compare_some())
        finally:
            loop.run(reader.close(5))
    assert len(seen) == 6


def test_rows_are_read_once_until_a_pass_has_them(
    connection: psycopg.Connection, migrated_url: str, loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random.Random(3)
    roller = Roller(REFERENCE)
    insert_random_rows(connection, source, 30)
    wait_until_final(connection)
    roll_all(roller, connection)
    read: list[int] = []
    copy = Transaction.copy

    async def count_rows(self: Transaction, query: str, values: object, take: object) -> None:
        if query is storage.reading.newer_rows._NEWER:
            read.append(0)

            def counting(row: bytes) -> None:
                read[-1] += 1
                take(row)  # type: ignore[operator]

            await copy(self, query, values, counting)  # type: ignore[arg-type]
        else:
            await copy(self, query, values, take)  # type: ignore[arg-type]

    monkeypatch.setattr(Transaction, "copy", count_rows)
    question = everything()
    reader = Reader(migrated_url, name="test", timeout_s=60)

    def read_rows() -> int:
        read.clear()
        loop.run(reader.read(lambda transaction: compare(transaction, question), 1))
        return sum(read)

    def insert(count: int) -> int:
        before = rows_of_project(connection)
        insert_random_rows(connection, source, count)
        wait_until_final(connection)
        return rows_of_project(connection) - before

    loop.run(reader.open())
    try:
        first = insert(40)
        assert read_rows() == first
        assert read_rows() == 0
        more = insert(20)
        assert read_rows() == more
        roll_all(roller, connection)
        assert read_rows() == 0
    finally:
        loop.run(reader.close(5))


def wait_until_final(connection: psycopg.Connection) -> None:
    """Transactions of other databases in the same cluster hold the mark up, too."""
    while connection.execute(IS_FINAL).fetchone() != (True,):
        time.sleep(0.02)


def roll_all(roller: Roller, connection: psycopg.Connection) -> None:
    """A pass begins with few transactions, and other databases of the cluster may have had many."""
    while (done := roller.roll(connection)) is None or done.is_behind:
        pass


def rows_of_project(connection: psycopg.Connection) -> int:
    row = connection.execute("""SELECT count(*) FROM http_request_rows WHERE project = 1 AND isfinite("timestamp")""")
    (count,) = row.fetchone() or (0,)
    return int(count)


def test_too_many_newer_rows_are_summed_up_by_postgres(
    connection: psycopg.Connection, migrated_url: str, loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.reading.newer_rows, "MOST_ROWS", 5)
    test_what_is_remembered_changes_no_answer(connection, migrated_url, loop, monkeypatch, Compiled.AUTO)


@pytest.mark.parametrize(("most_rows", "told"), [(5, StorageUnavailableError), (30, QueryTooLongError)])
def test_who_runs_out_of_time_for_want_of_a_pass_is_told_to_come_again(
    connection: psycopg.Connection,
    migrated_url: str,
    loop: EventLoop,
    monkeypatch: pytest.MonkeyPatch,
    most_rows: int,
    told: type[Exception],
) -> None:
    monkeypatch.setattr(storage.reading.newer_rows, "MOST_ROWS", most_rows)
    source = random.Random(4)
    insert_random_rows(connection, source, 30)
    wait_until_final(connection)
    roll_all(Roller(REFERENCE), connection)
    insert_random_rows(connection, source, 30)
    reader = Reader(migrated_url, name="test", timeout_s=1)

    async def ask_for_too_much(transaction: Transaction) -> object:
        await read_groups(transaction, everything())
        return await transaction.rows("SELECT pg_sleep(60)", {})

    async def act() -> None:
        await reader.open()
        with pytest.raises(told):
            await reader.read(ask_for_too_much, 1)
        await reader.close(5)

    loop.run(act())


def test_a_snapshot_has_nothing_of_later_rows_that_another_query_has_read(
    connection: psycopg.Connection, migrated_url: str, loop: EventLoop
) -> None:
    source = random.Random(4)
    insert_random_rows(connection, source, 30)
    Roller(REFERENCE).roll(connection)
    question = everything()
    reader = Reader(migrated_url, name="test", timeout_s=60)

    async def act() -> None:
        await reader.open()
        async with reader.reading(1) as earlier:
            for _ in range(2):
                await asyncio.to_thread(insert_random_rows, connection, source, 20)
                await reader.read(lambda transaction: compare(transaction, question), 1)
            await compare(earlier, question)
        await reader.read(lambda transaction: compare(transaction, question), 1)
        await reader.close(5)

    loop.run(act())


def test_names_that_a_crash_of_postgres_may_have_taken_back_are_forgotten(
    connection: psycopg.Connection, migrated_url: str, loop: EventLoop
) -> None:
    insert_random_rows(connection, random.Random(4), 30)
    wait_until_final(connection)
    roll_all(Roller(REFERENCE), connection)
    reader = Reader(migrated_url, name="test", timeout_s=60, connections=1)

    async def ask_hosts() -> set[str]:
        question = everything()._replace(group_by=GroupBy.HOST)
        return {host for (host,) in await reader.read(lambda transaction: read_groups(transaction, question), 1)}

    loop.run(reader.open())
    before = loop.run(ask_hosts())
    connection.execute("UPDATE rollup_names SET host = 'x' || host")
    assert loop.run(ask_hosts()) == before
    connection.execute(LOSE)
    assert loop.run(ask_hosts()) != before
    loop.run(reader.close(5))


def test_a_query_whose_snapshot_is_older_takes_nothing_from_others(connection: psycopg.Connection) -> None:
    state = replace(read_state(connection), mark=100, next_transaction=200)
    memories = Memories()
    memory = memories.of(1, state)
    later = replace(state, mark=150, next_transaction=220)
    assert memories.of(1, later) is memory
    assert memories.of(1, replace(later, mark=120)) is memory  # a pass ended, and no transaction began
    assert memories.of(1, state) is memory
    assert memories.of(1, replace(later, next_transaction=230)) is memory
    assert memories.of(1, replace(later, mark=140, next_transaction=240)) is not memory  # lost in a crash
