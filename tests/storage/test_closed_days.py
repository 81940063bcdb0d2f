"""Days that are over: their index is rebuilt once, by one server, whatever happens meanwhile."""

from datetime import UTC, datetime, time, timedelta

import psycopg
import pytest
from psycopg import sql

from storage.closed_days import CLOSING_DELAY, close_days, days_to_close
from storage.database import connect
from storage.migrations import all_migrations
from storage.partitions import LET_VACUUM, partition_name
from tests.storage.day_rows import TODAY, insert_day_rows
from tests.storage.waiting import run_at_once, wait_until

pytestmark = pytest.mark.one_postgres("it is done shard by shard there, see tests/citus")

YESTERDAY = TODAY - timedelta(days=1)
DAY = partition_name(YESTERDAY)
INDEX = f"{DAY}_project_timestamp_idx"
CLOSED_AT = datetime.combine(TODAY, time(), UTC) + CLOSING_DELAY
ROWS = 3_000

_SIZE = "SELECT pg_relation_size(%s::regclass)"
_INVALID = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND NOT indisvalid"
_SUMMARIZE_REST = "SELECT brin_summarize_new_values(%s::regclass)"
_BY_INDEX = "SELECT count(*) FROM http_request_rows WHERE project = 1"
_OPTIONS = "SELECT coalesce(cardinality(reloptions), 0) FROM pg_class WHERE oid = %s::regclass"
_REBUILDING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'REINDEX%'"


def number(connection: psycopg.Connection, query: str, *parameters: str) -> int:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def filled(connection: psycopg.Connection) -> psycopg.Connection:
    """A connection to a database that has rows of yesterday and of today."""
    insert_day_rows(connection, YESTERDAY, ROWS)
    insert_day_rows(connection, TODAY, 1)
    return connection


def test_a_day_is_closed_once_some_time_after_its_end(filled: psycopg.Connection, migrated_url: str) -> None:
    assert close_days(filled, migrated_url, CLOSED_AT - timedelta(seconds=1)) == []
    size = number(filled, _SIZE, INDEX)
    assert days_to_close(filled, CLOSED_AT) == [DAY]
    assert close_days(filled, migrated_url, CLOSED_AT) == [DAY]
    assert number(filled, _SIZE, INDEX) < size
    assert close_days(filled, migrated_url, CLOSED_AT) == []


def test_a_closed_day_has_all_summaries(filled: psycopg.Connection, migrated_url: str) -> None:
    close_days(filled, migrated_url, CLOSED_AT)
    for columns in ("trace_other_trace", "transaction"):
        assert number(filled, _SUMMARIZE_REST, f"{DAY}_{columns}_idx") == 0


def test_a_closed_day_may_be_vacuumed(filled: psycopg.Connection, migrated_url: str) -> None:
    assert number(filled, _OPTIONS, DAY) == 1
    close_days(filled, migrated_url, CLOSED_AT)
    assert number(filled, _OPTIONS, DAY) == 0


def test_a_database_of_the_version_before_vacuums_only_closed_days(
    filled: psycopg.Connection, migrated_url: str
) -> None:
    close_days(filled, migrated_url, CLOSED_AT)
    still_open = partition_name(TODAY)
    filled.execute(sql.SQL(LET_VACUUM).format(sql.Identifier(still_open)))
    (of_open_days,) = (migration for migration in all_migrations() if migration.version == 16)
    filled.execute(of_open_days.sql.encode())
    assert [number(filled, _OPTIONS, day) for day in (DAY, still_open)] == [0, 1]


def test_late_rows_of_a_closed_day_are_stored_and_found(filled: psycopg.Connection, migrated_url: str) -> None:
    close_days(filled, migrated_url, CLOSED_AT)
    insert_day_rows(filled, YESTERDAY, 10)
    filled.execute("SET enable_seqscan = off")
    assert number(filled, _BY_INDEX) == ROWS + 1 + 10
    assert days_to_close(filled, CLOSED_AT) == []


def test_no_day_is_closed_while_rows_are_moved_from_the_table_before(
    filled: psycopg.Connection, migrated_url: str
) -> None:
    filled.execute("CREATE TABLE http_requests_before ()")
    assert close_days(filled, migrated_url, CLOSED_AT) == []


def test_of_many_servers_one_closes_a_day(filled: psycopg.Connection, migrated_url: str) -> None:
    def close() -> list[str]:
        with connect(migrated_url) as connection:
            return close_days(connection, migrated_url, CLOSED_AT)

    assert [day for days in run_at_once(4, close) for day in days] == [DAY]


def test_a_rebuild_that_is_killed_holds_up_nobody_and_leaves_nothing_wrong(
    filled: psycopg.Connection, migrated_url: str
) -> None:
    def close() -> list[str]:
        try:
            with connect(migrated_url) as connection:
                return close_days(connection, migrated_url, CLOSED_AT)
        except psycopg.OperationalError:
            return ["killed"]

    def kill_once_it_waits() -> list[str]:
        with psycopg.connect(migrated_url, autocommit=True) as connection:
            wait_until(lambda: number(connection, _INVALID, DAY) > 0)
            insert_day_rows(connection, YESTERDAY, 1)
            connection.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM ({_REBUILDING}) AS rebuilding".encode())
        return []

    with psycopg.connect(migrated_url) as writer:
        insert_day_rows(writer, YESTERDAY, 1)  # a rebuild waits for the end of this transaction
        actions = iter((close, kill_once_it_waits))
        assert ["killed"] in run_at_once(2, lambda: next(actions)())
    assert number(filled, _INVALID, DAY) > 0
    assert close_days(filled, migrated_url, CLOSED_AT) == [DAY]
    assert number(filled, _INVALID, DAY) == 0
    filled.execute("SET enable_seqscan = off")
    assert number(filled, _BY_INDEX) == ROWS + 3
