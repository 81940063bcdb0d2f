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
from tests.storage.defaults import set_default
from tests.storage.rows import EPOCH, count_rows, encoded, insert_row, microseconds, rows_by_id, table_of
from tests.storage.submitting import Writer, submit
from tests.storage.waiting import run_at_once

TODAY = datetime.now(UTC).date()
IMPLIED = (
    'updated partition constraint for default partition "http_request_rows_older" is implied by existing constraints'
)


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


def test_a_partition_is_named_after_its_day() -> None:
    assert partition_name(date(2026, 3, 1)) == "http_request_rows_20260301"


def test_a_fresh_database_gets_the_days_from_a_week_ago_to_a_week_ahead(bare: psycopg.Connection) -> None:
    assert ensure_partitions(bare, TODAY) == names_around(TODAY)
    assert children(bare) == [*names_around(TODAY), "http_request_rows_ahead", "http_request_rows_older"]


def test_a_second_call_makes_nothing(bare: psycopg.Connection) -> None:
    ensure_partitions(bare, TODAY)
    assert ensure_partitions(bare, TODAY) == []


def test_the_next_day_needs_one_more(bare: psycopg.Connection) -> None:
    ensure_partitions(bare, TODAY)
    assert ensure_partitions(bare, TODAY + timedelta(days=1)) == [partition_name(TODAY + timedelta(days=8))]


def test_days_before_the_schema_was_made_get_no_partition(bare: psycopg.Connection) -> None:
    assert ensure_partitions(bare, TODAY - timedelta(days=10)) == names_around(TODAY)[:5]
    assert ensure_partitions(bare, date(1999, 1, 1)) == []


def test_of_many_calls_at_once_each_partition_is_made_by_one(bare: psycopg.Connection, database_url: str) -> None:
    def ensure() -> list[str]:
        with connect(database_url) as connection:
            return ensure_partitions(connection, TODAY)

    made = run_at_once(6, ensure)
    assert sorted(name for names in made for name in names) == names_around(TODAY)


@pytest.mark.parametrize("timezone", ["America/St_Johns", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_days_are_utc_days_whatever_the_time_zone_of_the_database(
    bare: psycopg.Connection, database_url: str, timezone: str
) -> None:
    set_default(database_url, "timezone", timezone)
    with connect(database_url) as connection:
        assert ensure_partitions(connection, TODAY) == names_around(TODAY)
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    assert table_of(bare, insert_row(bare, midnight)) == partition_name(TODAY)
    assert table_of(bare, insert_row(bare, midnight - timedelta(microseconds=1))) == names_around(TODAY)[6]


@pytest.mark.one_postgres("rows are in the parts that nodes have of partitions")
def test_a_row_lands_in_the_partition_of_its_day(connection: psycopg.Connection) -> None:
    expected = {
        TODAY: partition_name(TODAY),
        TODAY - timedelta(days=7): partition_name(TODAY - timedelta(days=7)),
        TODAY + timedelta(days=7): partition_name(TODAY + timedelta(days=7)),
        TODAY - timedelta(days=8): "http_request_rows_older",
        TODAY - timedelta(days=240): "http_request_rows_older",
        date(1999, 12, 31): "http_request_rows_older",
        date(1, 1, 1): "http_request_rows_older",
        TODAY + timedelta(days=8): "http_request_rows_ahead",
        date(9999, 12, 31): "http_request_rows_ahead",
    }
    assert {day: table_of(connection, insert_row(connection, noon(day))) for day in expected} == expected


@pytest.mark.one_postgres("Citus takes no COPY with a condition")
def test_thousands_of_invented_dates_make_no_partition(connection: psycopg.Connection, writer: Writer) -> None:
    before = children(connection)
    first_us = microseconds(datetime(1, 1, 1, tzinfo=UTC))
    dates_us = [first_us + number * 1_800 * 86_400_000_000 for number in range(2_000)]
    stored = [submit(writer, encoded(timestamp=moment_us)) for moment_us in dates_us]
    assert [stored.result(PATIENCE_S) for stored in stored] == [1] * len(dates_us)
    assert len({(row["timestamp"] - EPOCH).days for row in rows_by_id(connection)}) == len(dates_us)
    assert ensure_partitions(connection, TODAY) == []
    assert children(connection) == before


@pytest.mark.one_postgres("rows are in the parts that nodes have of partitions")
def test_a_row_that_was_too_far_ahead_is_moved_when_its_day_comes_near(connection: psycopg.Connection) -> None:
    near = insert_row(connection, noon(TODAY + timedelta(days=10)))
    later = insert_row(connection, noon(TODAY + timedelta(days=11)))
    before = rows_by_id(connection)
    assert {table_of(connection, near), table_of(connection, later)} == {"http_request_rows_ahead"}

    ensure_partitions(connection, TODAY + timedelta(days=3))

    assert table_of(connection, near) == partition_name(TODAY + timedelta(days=10))
    assert table_of(connection, later) == "http_request_rows_ahead"
    assert rows_by_id(connection) == before


def test_rows_of_days_the_server_slept_through_are_kept(connection: psycopg.Connection) -> None:
    for days in range(8, 40):
        insert_row(connection, noon(TODAY + timedelta(days=days)))
    ensure_partitions(connection, TODAY + timedelta(days=30))
    assert count_rows(connection) == 32
    assert partition_name(TODAY + timedelta(days=9)) not in children(connection)


def test_a_new_partition_has_the_indexes_of_the_table(connection: psycopg.Connection) -> None:
    count = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass"
    of_the_table = connection.execute(count, ("http_request_rows",)).fetchone()
    assert of_the_table == (3,)
    assert connection.execute(count, (partition_name(TODAY),)).fetchone() == of_the_table


def test_adding_a_partition_does_not_scan_the_old_rows(connection: psycopg.Connection) -> None:
    insert_row(connection, noon(date(1999, 1, 1)))
    messages: list[str | None] = []
    connection.add_notice_handler(lambda diagnostic: messages.append(diagnostic.message_primary))
    connection.execute("SET client_min_messages = debug1")

    assert len(ensure_partitions(connection, TODAY + timedelta(days=2))) == 2

    assert 'verifying table "http_request_rows_older"' not in messages
