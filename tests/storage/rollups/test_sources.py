"""What is read from rollups and rows together is what the rows alone give."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import storage.reading.sources
from server.compiled.aggregator import choose_adding
from server.settings import Compiled
from storage.endpoints import endpoint_of
from storage.reading.filters import SLOW_MS, Filter
from storage.reading.narrowing import narrow
from storage.reading.parts import GroupBy, RowsOfTime, parts_from_rows
from storage.reading.question import Groups, Question
from storage.reading.reader import Reader
from storage.reading.rollup_plan import make_plan
from storage.reading.rows import Position, count_rows, list_rows
from storage.reading.sources import read_groups
from storage.reading.sums import Sums
from storage.reading.totals import Sort, order_of
from storage.reading.transaction import Transaction
from storage.rollups.groups import DAY_US, HOUR_US, MINUTE_US, Span
from storage.rollups.merging import sum_up
from storage.rollups.rolling import Roller
from storage.rollups.state import RollupState
from storage.rollups.summing import REFERENCE
from tests.storage.event_loop import EventLoop
from tests.storage.rollups.model import insert_random_rows

pytestmark = pytest.mark.one_postgres("rollups are kept shard by shard there, see tests/citus")

EARLIER = """
UPDATE rollup_state SET hours_until = hours_until - interval '50 hours',
                        minutes_from = minutes_from - interval '50 hours',
                        days_until = date_trunc('day', days_until - interval '50 hours', 'UTC')
"""
FILTERS: dict[str, tuple[Any, ...]] = {
    "direction": ("inbound", "outbound"),
    "method": ("GET", "POST"),
    "status_group": ("2xx", "3xx", "4xx", "5xx", "0", "failed"),
    "host": ("api.example.com", "nobody.example", "ünïcode.example"),
    "endpoint": ("/orders/{id}", "/größe/ß", "/nothing"),
    "status": (200, 503, 599),
    "path": ("orders", "/files"),
}


@pytest.fixture
def rolled_up(connection: psycopg.Connection) -> random.Random:
    """Rows in all tables of rollups, and newer ones in none; also of groups that became {other}."""
    source = random.Random(5)
    connection.execute(EARLIER)
    roller = Roller(REFERENCE)
    for _ in range(4):
        insert_random_rows(connection, source, 150)
        roller.roll(connection)
        for _ in range(20):
            sum_up(connection, REFERENCE)
    insert_random_rows(connection, source, 40)
    return source


def random_filter(source: random.Random) -> Filter:
    def moment() -> datetime:
        hours = source.choice((1, 10, 100, 24 * 45))
        at = datetime.now(UTC) - timedelta(hours=source.uniform(-0.6, 1) * hours)
        return at.replace(minute=0, second=0, microsecond=0) if source.random() < 0.3 else at

    start, end = sorted((moment(), moment()))
    rows = Filter(source.randrange(1, 4), start, end)
    for name, values in FILTERS.items():
        if source.random() < 0.2:
            rows = replace(rows, **{name: source.choice(values)})
    return rows


async def sums_of_rows(transaction: Transaction, question: Question) -> Groups:
    groups: Groups = {}
    async for values, sums in parts_from_rows(
        transaction, [RowsOfTime(question.rows)], question.group_by, slow_ms=question.slow_ms, step_s=question.step_s
    ):
        if len(values) == 3:
            values = (*values[:2], endpoint_of(values[2]))
        groups.setdefault(values, Sums()).add(sums)
    return groups


def first_of(groups: Groups, sort: Sort | None, limit: int) -> Groups:
    """Return the groups that must not be left out."""
    if sort is None:
        return groups
    least = sorted((order_of(sort, sums) for sums in groups.values()), reverse=True)[:limit][-1:]
    return {group: sums for group, sums in groups.items() if [order_of(sort, sums)] >= least}


@pytest.mark.parametrize("setting", Compiled)
def test_sums_are_those_of_the_rows(
    rolled_up: random.Random, migrated_url: str, loop: EventLoop, monkeypatch: pytest.MonkeyPatch, setting: Compiled
) -> None:
    used: set[Span | None] = set()

    def note_plan(*arguments: Any) -> Any:
        plan = make_plan(*arguments)
        used.update(piece.span for piece in (*plan.from_rollups, *plan.from_rows))
        return plan

    monkeypatch.setattr(storage.reading.sources, "make_plan", note_plan)

    async def compare() -> None:
        reader = Reader(migrated_url, name="test", timeout_s=60, adding=choose_adding(setting))
        await reader.open()
        try:
            for _ in range(150):
                rows, group_by = random_filter(rolled_up), rolled_up.choice(list(GroupBy))
                question = Question(
                    rows,
                    group_by,
                    slow_ms=rolled_up.choice((SLOW_MS, SLOW_MS, 10)),
                    step_s=rolled_up.choice((7, 60, 900, 3_600, 86_400, 172_800)),
                    sort=rolled_up.choice((None, *Sort)),
                    limit=rolled_up.choice((1, 3, 100)),
                )

                async def both(transaction: Transaction) -> None:
                    wanted = await sums_of_rows(transaction, question)  # noqa: B023
                    found = await read_groups(transaction, question)  # noqa: B023
                    first = first_of(wanted, question.sort, question.limit)  # noqa: B023
                    assert found == {group: wanted[group] for group in found}, question  # noqa: B023
                    assert found.keys() >= first.keys(), question  # noqa: B023

                await reader.read(both, rows.project)
        finally:
            await reader.close(5)

    loop.run(compare())
    assert used == {*Span, None}


def test_a_list_has_all_rows_wherever_rollups_say_that_they_are(
    rolled_up: random.Random, migrated_url: str, loop: EventLoop
) -> None:
    narrowed: set[bool | None] = set()

    async def compare() -> None:
        reader = Reader(migrated_url, name="test", timeout_s=60)
        await reader.open()
        try:
            for _ in range(150):
                rows = random_filter(rolled_up)
                limit, offset = rolled_up.choice((1, 5, 60)), rolled_up.choice((0, 0, 7))

                async def both(transaction: Transaction) -> None:
                    everything = await list_rows(transaction, rows, None, limit=10_000)  # noqa: B023
                    where = await narrow(transaction, rows)  # noqa: B023
                    narrowed.add(where and where.is_exact)
                    page = await list_rows(transaction, rows, where, offset=offset, limit=limit)  # noqa: B023
                    assert page == everything[offset : offset + limit], rows  # noqa: B023
                    assert await count_rows(transaction, rows, where) == (len(everything), True)  # noqa: B023
                    for last in everything[:1] + everything[3:4]:
                        rest = everything[everything.index(last) + 1 :][:limit]  # noqa: B023
                        after = Position(last.timestamp, last.id)
                        assert await list_rows(transaction, rows, where, after=after, limit=limit) == rest  # noqa: B023

                await reader.read(both, rows.project)
        finally:
            await reader.close(5)

    loop.run(compare())
    assert narrowed == {None, False, True}


@pytest.mark.parametrize("kept_from", ["now() - interval '20 hours'", "timestamptz '9999-01-01Z'"])
def test_rows_that_were_deleted_are_not_counted_in_a_list(
    rolled_up: random.Random, connection: psycopg.Connection, migrated_url: str, loop: EventLoop, kept_from: str
) -> None:
    connection.execute(f'DELETE FROM http_request_rows WHERE "timestamp" < {kept_from}'.encode())
    test_a_list_has_all_rows_wherever_rollups_say_that_they_are(rolled_up, migrated_url, loop)


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_list_may_end_with_the_last_year(
    rolled_up: random.Random, migrated_url: str, loop: EventLoop, direction: str
) -> None:
    start, end = datetime(9999, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    rows = Filter(1, start, end, direction=direction)
    reader = Reader(migrated_url, name="test", timeout_s=60)

    async def compare(transaction: Transaction) -> None:
        everything = await list_rows(transaction, rows, None, limit=10_000)
        assert everything
        assert await list_rows(transaction, rows, await narrow(transaction, rows), limit=10_000) == everything

    async def act() -> None:
        await reader.open()
        try:
            await reader.read(compare, 1)
        finally:
            await reader.close(5)

    loop.run(act())


def make_state(**changes: Any) -> RollupState:
    values: dict[str, Any] = {
        "mark": 5, "first_transaction": 0, "is_of_this_cluster": True, "final_below": 5, "next_transaction": 5,
        "minutes_from_us": 8 * DAY_US, "kept_from_us": None, "hours_until_us": 10 * DAY_US + 3 * HOUR_US,
        "days_until_us": 10 * DAY_US, "now_us": 10 * DAY_US + 3 * HOUR_US + 20 * MINUTE_US,
    }  # fmt: skip
    return RollupState(**values | changes)


@pytest.mark.parametrize(
    ("state", "start_us", "end_us", "step_us", "spans"),
    [
        (make_state(), 7 * DAY_US + 5, 11 * DAY_US + 7, None, [None, 1, 2, 1, 0, None]),
        (make_state(), 7 * DAY_US, 10 * DAY_US, None, [2]),
        (make_state(), 7 * DAY_US, 10 * DAY_US, HOUR_US, [1]),
        (make_state(), 7 * DAY_US, 10 * DAY_US, 5 * MINUTE_US, [None, 0]),
        (make_state(), 7 * DAY_US, 10 * DAY_US, 7, [None]),
        (make_state(), 9 * DAY_US + 1, 9 * DAY_US + MINUTE_US - 1, None, [None]),
        (make_state(kept_from_us=9 * DAY_US), 7 * DAY_US, 10 * DAY_US, None, [None, 2]),
        (make_state(mark=0), 7 * DAY_US, 10 * DAY_US, None, [None]),
        (make_state(is_of_this_cluster=False), 7 * DAY_US, 10 * DAY_US, None, [None]),
    ],
)
def test_a_range_is_cut_into_whole_days_hours_and_minutes(
    state: RollupState, start_us: int, end_us: int, step_us: int | None, spans: list[int | None]
) -> None:
    plan = make_plan(state, start_us, end_us, step_us)
    pieces = sorted((*plan.from_rollups, *plan.from_rows), key=lambda piece: piece.start_us)
    assert [piece.span for piece in pieces] == spans
    ends = [start_us, *(piece.end_us for piece in pieces)]
    assert [piece.start_us for piece in pieces] == ends[:-1]
    assert ends[-1] == end_us
