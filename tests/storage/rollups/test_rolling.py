"""Rollups are the sums over the rows, whatever happens between rows and rollups."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from server.compiled.aggregator import choose_summing
from server.settings import Compiled
from storage.database import connect
from storage.rollups import rolling
from storage.rollups.groups import Level, Span
from storage.rollups.merging import KEPT_MINUTES_US, advance_limits, delete_old, merge_due, sum_up
from storage.rollups.rolling import Pass, Roller
from storage.rollups.state import begin_again, read_state
from storage.rollups.summing import REFERENCE
from storage.sketch import bucket_of
from tests.process.polling import wait_until
from tests.storage.rollups.model import insert_random_rows, sums_of_rollups, sums_of_rows
from tests.storage.waiting import run_at_once

pytestmark = pytest.mark.one_postgres("rollups are kept shard by shard there, see tests/citus")

ALL_OVER = "UPDATE rollup_unmerged SET due_at = now()"
# As if this many hours had passed since the schema was made.
EARLIER = """
UPDATE rollup_state SET hours_until = hours_until - %(by)s::interval, minutes_from = minutes_from - %(by)s::interval,
                        days_until = date_trunc('day', days_until - %(by)s::interval, 'UTC')
"""
BY_HAND = """
INSERT INTO http_request_rows (id, project, "timestamp", duration_ms, request_size,
                               is_inbound, status_code, method, host, path)
SELECT gen_random_uuid(), 1, now(), figure, figure, false, 200, 'GET', 'h', '/'
  FROM unnest(ARRAY[NULL, -5, 0]) AS figure
"""
ROLL_FOR_EVER = """
import sys
from storage.database import connect
from storage.rollups.rolling import Pass, Roller
from storage.rollups.merging import merge_due, sum_up
from storage.rollups.summing import REFERENCE
roller = Roller(REFERENCE)
with connect(sys.argv[1]) as connection:
    while True:
        roller.roll(connection)
        connection.execute("UPDATE rollup_unmerged SET due_at = now()")
        merge_due(connection, REFERENCE)
        sum_up(connection, REFERENCE)
        print(flush=True)
"""


EMPTY = Pass(0, 0, 0, is_behind=True)


@contextmanager
def _rolling(url: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", ROLL_FOR_EVER, url], stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def roller() -> Roller:
    return Roller(REFERENCE)


@pytest.fixture
def earlier(connection: psycopg.Connection) -> None:
    """Hours and days are to be made from minutes."""
    connection.execute(EARLIER, {"by": "50 hours"})


def roll_all(roller: Roller, connection: psycopg.Connection) -> int:
    rows = 0
    while (done := roller.roll(connection)) is not None:
        rows += done.rows
        if not done.is_behind:
            return rows
    raise AssertionError("another one rolls")


def roll_all_when_free(roller: Roller, connection: psycopg.Connection) -> None:
    """Roll once the backend of a killed process has noticed its end."""
    wait_until(lambda: roller.roll(connection) is not None, "the lock of the killed process is released")
    roll_all(roller, connection)


def assert_exact(connection: psycopg.Connection) -> None:
    """Each table has exactly the sums over the rows of the times that the state says it has."""
    times = connection.execute(
        "SELECT minutes_from::text, hours_until::text, days_until::text FROM rollup_state"
    ).fetchone()
    assert times is not None
    minutes_from, hours_until, days_until = times
    is_there = {
        Span.MINUTE: lambda start: start >= minutes_from,
        Span.HOUR: lambda start: start < hours_until,
        Span.DAY: lambda start: start < days_until,
    }
    for span in Span:
        for level in Level:
            wanted = sums_of_rows(connection, span, level)
            wanted = {group: sums for group, sums in wanted.items() if is_there[span](group[-1])}
            found = sums_of_rollups(connection, span, level)
            assert {group: sums for group, sums in found.items() if is_there[span](group[-1])} == wanted, (span, level)


def reached_end(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "SELECT coalesce(max(transaction), 0) < (SELECT mark FROM rollup_state) FROM http_request_rows"
    ).fetchone()
    return row == (True,)


@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize("seed", range(3))
def test_rollups_are_the_sums_over_the_rows(connection: psycopg.Connection, migrated_url: str, seed: int) -> None:
    source = random.Random(seed)
    summing = choose_summing(Compiled.AUTO) if seed % 2 else REFERENCE
    roller = Roller(summing)
    actions: dict[str, Any] = {
        "insert": lambda: insert_random_rows(connection, source, source.randrange(1, 120)),
        "roll": lambda: roller.roll(connection),
        "merge": lambda: (connection.execute(ALL_OVER), merge_due(connection, summing)),
        "sum up": lambda: [sum_up(connection, summing) for _ in range(source.randrange(1, 40))],
        "limits": lambda: (advance_limits(connection, None), delete_old(connection)),
        "start again": lambda: Roller.__init__(roller, summing),
    }
    with ExitStack() as stack:
        others = [stack.enter_context(connect(migrated_url)) for _ in range(2)]
        for _ in range(40):
            other = source.choice(others)
            if source.random() < 0.2:
                if other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                    other.execute("BEGIN")
                    insert_random_rows(other, source, 5)
                else:
                    other.execute(source.choice(("COMMIT", "ROLLBACK")))
            actions[source.choices(tuple(actions), (4, 3, 1, 1, 1, 0.5))[0]]()
            if source.random() < 0.2:
                assert_exact(connection)
        for other in others:
            other.execute("COMMIT")
        roll_all(roller, connection)
        assert reached_end(connection)
        assert_exact(connection)


def test_rows_of_an_open_transaction_wait_with_all_that_came_later(
    connection: psycopg.Connection, migrated_url: str, roller: Roller
) -> None:
    source = random.Random(0)
    with connect(migrated_url) as other:
        other.execute("BEGIN")
        insert_random_rows(other, source, 3)
        insert_random_rows(connection, source, 4)
        assert roll_all(roller, connection) == 0
        other.execute("COMMIT")
    assert roll_all(roller, connection) == 7
    assert_exact(connection)


def test_without_new_rows_nothing_is_written(connection: psycopg.Connection, roller: Roller) -> None:
    insert_random_rows(connection, random.Random(0), 3)
    roll_all(roller, connection)
    before = read_state(connection)
    for _ in range(3):
        assert roll_all(roller, connection) == 0
    after = read_state(connection)
    assert (after.mark, after.next_transaction) == (before.mark, before.next_transaction)


@pytest.mark.parametrize("compiled", [Compiled.AUTO, Compiled.OFF])
def test_rows_that_sql_stored_without_a_figure_or_below_0_count_as_0(
    connection: psycopg.Connection, compiled: Compiled
) -> None:
    connection.execute(BY_HAND)
    assert roll_all(Roller(choose_summing(compiled)), connection) == 3
    assert [*sums_of_rollups(connection, Span.MINUTE, Level.PROJECT).values()] == [{"requests": 3, bucket_of(0): 3}]


def test_a_row_whose_time_is_not_finite_is_in_no_range_and_in_no_rollup(
    connection: psycopg.Connection, roller: Roller
) -> None:
    insert_random_rows(connection, random.Random(0), 3)
    connection.execute("""UPDATE http_request_rows SET "timestamp" = 'infinity' WHERE host = '{other}'""")
    connection.execute("""UPDATE http_request_rows SET "timestamp" = '-infinity' WHERE status_code = 0""")
    (finite,) = (
        connection.execute("""SELECT count(*) FROM http_request_rows WHERE isfinite("timestamp")""").fetchone() or ()
    )
    assert roll_all(roller, connection) == finite


def test_two_rollers_at_once_count_each_row_once(connection: psycopg.Connection, migrated_url: str) -> None:
    source = random.Random(1)
    for _ in range(20):
        insert_random_rows(connection, source, 20)

    def run() -> int:
        rows, mine = 0, Roller(REFERENCE)
        with connect(migrated_url) as own:
            while not reached_end(own):
                rows += (mine.roll(own) or EMPTY).rows
        return rows

    assert sum(run_at_once(3, run)) == 400
    assert_exact(connection)


@pytest.mark.usefixtures("earlier")
def test_a_roller_that_is_killed_at_any_moment_leaves_exact_sums(
    connection: psycopg.Connection, migrated_url: str, roller: Roller
) -> None:
    source = random.Random(2)
    for _ in range(6):
        with _rolling(migrated_url) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(source.randrange(1, 12)):
                insert_random_rows(connection, source, 10)
            process.send_signal(signal.SIGKILL)
    roll_all_when_free(roller, connection)
    assert reached_end(connection)
    assert_exact(connection)


def test_rebuilt_from_the_rows_they_are_the_same(connection: psycopg.Connection, roller: Roller) -> None:
    insert_random_rows(connection, random.Random(3), 200)
    roll_all(roller, connection)
    begin_again(connection)
    assert not read_state(connection).is_readable
    assert roll_all(roller, connection) == 200
    assert read_state(connection).is_readable
    assert_exact(connection)


def test_minutes_go_after_two_days(connection: psycopg.Connection, roller: Roller) -> None:
    connection.execute(EARLIER, {"by": "30 hours"})
    insert_random_rows(connection, random.Random(4), 200)
    roll_all(roller, connection)
    while sum_up(connection, REFERENCE):
        pass
    assert advance_limits(connection, None)
    assert delete_old(connection) > 0
    assert delete_old(connection) == 0
    state = read_state(connection)
    assert state.now_us - state.minutes_from_us < KEPT_MINUTES_US + 3_600_000_000
    assert_exact(connection)


def test_a_pass_takes_no_more_rows_than_fit_in_memory(
    connection: psycopg.Connection, roller: Roller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "MOST_ROWS", 50)
    source = random.Random(5)
    for _ in range(5):
        with connection.transaction():
            insert_random_rows(connection, source, 40)
    with connection.transaction():
        insert_random_rows(connection, source, 60)  # of one transaction, which cannot be divided
    rows = []
    while not reached_end(connection):
        done = roller.roll(connection)
        assert done is not None
        rows.append(done.rows)
    assert (max(rows), sum(rows)) == (60, 260)
    assert_exact(connection)
