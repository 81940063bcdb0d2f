"""Which partition a row lands in, and which partitions there are."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

import storage.partitions
from storage.database import connect
from storage.migrations import migrate
from storage.partitions import ensure_partitions, partition_name
from tests.patience import PATIENCE_S
from tests.storage.days import day_of_schema
from tests.storage.defaults import set_default
from tests.storage.rows import EPOCH, count_rows, encoded, insert_row, microseconds, rows_by_id, table_of
from tests.storage.submitting import Writer, submit
from tests.storage.waiting import run_at_once

IMPLIED = (
    'updated partition constraint for default partition "http_request_rows_older" is implied by existing constraints'
)
_VACUUMED_FOR_NEW_ROWS = """
SELECT oid::regclass::text FROM pg_class JOIN pg_inherits ON inhrelid = oid
 WHERE inhparent = 'http_request_rows'::regclass
   AND 'autovacuum_vacuum_insert_threshold=-1' <> ALL (coalesce(reloptions, ARRAY['']))
"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autovacuum of the catalog holds locks for longer where all processors are busy; a server tries again then."""
    monkeypatch.setattr(storage.partitions, "LOCK_TIMEOUT", f"{PATIENCE_S:g}s")


@pytest.fixture
def bare(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to a database with the schema, but without partitions of days."""
    with connect(database_url) as connection:
        migrate(connection)
        yield connection


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def names_around(today: date) -> list[str]:
    return [partition_name(today + timedelta(days=offset)) for offset in range(-7, 8)]


def children(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'http_request_rows'::regclass ORDER BY 1"
    ).fetchall()
    return [name for (name,) in rows]


def vacuumed_for_new_rows(connection: psycopg.Connection) -> list[str]:
    """Return the partitions that autovacuum works on for the rows that came."""
    rows = connection.execute(_VACUUMED_FOR_NEW_ROWS).fetchall()
    return [name for (name,) in rows]


def test_a_partition_is_named_after_its_day() -> None:
    assert partition_name(date(2026, 3, 1)) == "http_request_rows_20260301"


def test_a_fresh_database_gets_the_days_from_a_week_ago_to_a_week_ahead(bare: psycopg.Connection) -> None:
    today = day_of_schema(bare)
    assert ensure_partitions(bare, today) == names_around(today)
    assert children(bare) == [*names_around(today), "http_request_rows_ahead", "http_request_rows_older"]


def test_a_second_call_makes_nothing(bare: psycopg.Connection) -> None:
    today = day_of_schema(bare)
    ensure_partitions(bare, today)
    assert ensure_partitions(bare, today) == []


def test_the_next_day_needs_one_more(bare: psycopg.Connection) -> None:
    today = day_of_schema(bare)
    ensure_partitions(bare, today)
    assert ensure_partitions(bare, today + timedelta(days=1)) == [partition_name(today + timedelta(days=8))]


def test_days_before_the_schema_was_made_get_no_partition(bare: psycopg.Connection) -> None:
    today = day_of_schema(bare)
    assert ensure_partitions(bare, today - timedelta(days=10)) == names_around(today)[:5]
    assert ensure_partitions(bare, date(1999, 1, 1)) == []


def test_of_many_calls_at_once_each_partition_is_made_by_one(bare: psycopg.Connection, database_url: str) -> None:
    today = day_of_schema(bare)

    def ensure() -> list[str]:
        with connect(database_url) as connection:
            return ensure_partitions(connection, today)

    made = run_at_once(6, ensure)
    assert sorted(name for names in made for name in names) == names_around(today)


@pytest.mark.parametrize("timezone", ["America/St_Johns", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_days_are_utc_days_whatever_the_time_zone_of_the_database(
    bare: psycopg.Connection, database_url: str, timezone: str
) -> None:
    today = day_of_schema(bare)
    set_default(database_url, "timezone", timezone)
    with connect(database_url) as connection:
        assert ensure_partitions(connection, today) == names_around(today)
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC)
    assert table_of(bare, insert_row(bare, midnight)) == partition_name(today)
    assert table_of(bare, insert_row(bare, midnight - timedelta(microseconds=1))) == names_around(today)[6]


@pytest.mark.one_postgres("rows are in the parts that nodes have of partitions")
def test_a_row_lands_in_the_partition_of_its_day(connection: psycopg.Connection) -> None:
    today = day_of_schema(connection)
    expected = {
        today: partition_name(today),
        today - timedelta(days=7): partition_name(today - timedelta(days=7)),
        today + timedelta(days=7): partition_name(today + timedelta(days=7)),
        today - timedelta(days=8): "http_request_rows_older",
        today - timedelta(days=240): "http_request_rows_older",
        date(1999, 12, 31): "http_request_rows_older",
        date(1, 1, 1): "http_request_rows_older",
        today + timedelta(days=8): "http_request_rows_ahead",
        date(9999, 12, 31): "http_request_rows_ahead",
    }
    assert {day: table_of(connection, insert_row(connection, noon(day))) for day in expected} == expected


@pytest.mark.one_postgres("Citus takes no COPY with a condition")
def test_thousands_of_invented_dates_make_no_partition(connection: psycopg.Connection, writer: Writer) -> None:
    today = day_of_schema(connection)
    before = children(connection)
    first_us = microseconds(datetime(1, 1, 1, tzinfo=UTC))
    dates_us = [first_us + number * 1_800 * 86_400_000_000 for number in range(2_000)]
    stored = [submit(writer, encoded(timestamp=moment_us)) for moment_us in dates_us]
    assert [stored.result(PATIENCE_S) for stored in stored] == [1] * len(dates_us)
    assert len({(row["timestamp"] - EPOCH).days for row in rows_by_id(connection)}) == len(dates_us)
    assert ensure_partitions(connection, today) == []
    assert children(connection) == before


@pytest.mark.one_postgres("rows are in the parts that nodes have of partitions")
def test_a_row_that_was_too_far_ahead_is_moved_when_its_day_comes_near(connection: psycopg.Connection) -> None:
    today = day_of_schema(connection)
    near = insert_row(connection, noon(today + timedelta(days=10)))
    later = insert_row(connection, noon(today + timedelta(days=11)))
    before = rows_by_id(connection)
    assert {table_of(connection, near), table_of(connection, later)} == {"http_request_rows_ahead"}

    ensure_partitions(connection, today + timedelta(days=3))

    assert table_of(connection, near) == partition_name(today + timedelta(days=10))
    assert table_of(connection, later) == "http_request_rows_ahead"
    assert rows_by_id(connection) == before


def test_rows_of_days_the_server_slept_through_are_kept(connection: psycopg.Connection) -> None:
    today = day_of_schema(connection)
    for days in range(8, 40):
        insert_row(connection, noon(today + timedelta(days=days)))
    ensure_partitions(connection, today + timedelta(days=30))
    assert count_rows(connection) == 32
    assert partition_name(today + timedelta(days=9)) not in children(connection)


def test_a_new_partition_has_the_indexes_of_the_table(connection: psycopg.Connection) -> None:
    today = day_of_schema(connection)
    count = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass"
    of_the_table = connection.execute(count, ("http_request_rows",)).fetchone()
    assert of_the_table == (3,)
    assert connection.execute(count, (partition_name(today),)).fetchone() == of_the_table


def test_adding_a_partition_does_not_scan_the_old_rows(connection: psycopg.Connection) -> None:
    today = day_of_schema(connection)
    insert_row(connection, noon(date(1999, 1, 1)))
    messages: list[str | None] = []
    connection.add_notice_handler(lambda diagnostic: messages.append(diagnostic.message_primary))
    connection.execute("SET client_min_messages = debug1")

    assert len(ensure_partitions(connection, today + timedelta(days=2))) == 2

    assert 'verifying table "http_request_rows_older"' not in messages


def test_new_rows_set_off_no_vacuum_which_would_hold_up_summaries(bare: psycopg.Connection) -> None:
    assert vacuumed_for_new_rows(bare) == []
    ensure_partitions(bare, day_of_schema(bare))
    assert vacuumed_for_new_rows(bare) == []
