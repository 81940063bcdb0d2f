"""Rows that are too old are deleted, and those of deleted projects, a little at a time."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from server.database import retention as upkeep
from storage import retention
from storage.database import connect
from storage.keys.api_keys import create_key, list_keys
from storage.keys.projects import create_project, delete_project
from storage.partitions import ensure_partitions
from storage.retention import delete_deleted_projects, delete_other_days, drop_day, expired_days, limit_of
from tests.patience import PATIENCE_S
from tests.storage.rows import PROJECT_NUMBER, count_rows, encoded, insert_row, rows_by_id
from tests.storage.submitting import Writer, submit
from tests.storage.waiting import transaction_holding

pytestmark = pytest.mark.one_postgres("it is done shard by shard there, see tests/citus")

NOW = datetime.now(UTC)
KEPT_DAYS = 3
LIMIT = limit_of(NOW, KEPT_DAYS)
A_MOMENT = timedelta(microseconds=1)


def set_rollup_mark(connection: psycopg.Connection, mark: int = 2**62) -> None:
    """Have the rollups say that they have all rows of transactions below `mark`."""
    connection.execute("UPDATE rollup_state SET mark = %s", (mark,))


def drop_expired(connection: psycopg.Connection) -> list[bool]:
    return [drop_day(connection, day) for day in expired_days(connection, LIMIT)]


def test_the_last_days_are_kept_whole(connection: psycopg.Connection) -> None:
    set_rollup_mark(connection)
    insert_row(connection, LIMIT - A_MOMENT)
    insert_row(connection, "1999-01-01")
    kept = {insert_row(connection, moment) for moment in (LIMIT, NOW, NOW + timedelta(days=30))}
    assert drop_expired(connection) == [True] * (7 - KEPT_DAYS)
    insert_row(connection, LIMIT - A_MOMENT)  # of a day that is gone
    assert [delete_other_days(connection, LIMIT) for _ in range(3)] == [1, 1, 0]
    assert {row["id"] for row in rows_by_id(connection)} == kept


def test_a_day_that_was_dropped_is_not_made_again(connection: psycopg.Connection) -> None:
    set_rollup_mark(connection)
    drop_expired(connection)
    assert ensure_partitions(connection, NOW.date()) == []
    assert len(ensure_partitions(connection, NOW.date() + timedelta(days=1))) == 1


def test_a_step_is_bounded_though_all_rows_are_of_one_moment(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_rollup_mark(connection)
    monkeypatch.setattr(retention, "STEP_ROWS", 2)
    for _ in range(5):
        insert_row(connection, "1999-01-01")
    assert [delete_other_days(connection, LIMIT) for _ in range(4)] == [2, 2, 1, 0]


def test_a_transaction_that_uses_the_table_is_not_waited_for_and_writers_go_on(
    connection: psycopg.Connection, migrated_url: str, writer: Writer
) -> None:
    set_rollup_mark(connection)
    day, *_ = expired_days(connection, LIMIT)
    with transaction_holding(migrated_url, "LOCK TABLE ONLY http_request_rows IN ACCESS SHARE MODE"):
        with pytest.raises(psycopg.errors.LockNotAvailable):
            drop_day(connection, day)
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert drop_day(connection, day)
    assert drop_day(connection, day)  # somebody else was faster


def test_a_pass_over_the_rollups_is_not_waited_for(connection: psycopg.Connection, migrated_url: str) -> None:
    set_rollup_mark(connection)
    insert_row(connection, "1999-01-01")
    with transaction_holding(migrated_url, "SELECT FROM rollup_state FOR UPDATE"):
        assert delete_deleted_projects(connection) == 0
        assert drop_expired(connection) == [True] * (7 - KEPT_DAYS)
        assert delete_other_days(connection, LIMIT) == 1


def test_rows_stay_until_the_rollups_have_them(connection: psycopg.Connection) -> None:
    insert_row(connection, LIMIT - A_MOMENT)
    insert_row(connection, "1999-01-01")
    set_rollup_mark(connection, 1)
    assert drop_expired(connection) == [True] * (6 - KEPT_DAYS) + [False]
    assert delete_other_days(connection, LIMIT) == 0
    assert count_rows(connection) == 2


def test_rows_that_the_rollups_lacked_go_soon_after_these_have_them(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "RETRY_INTERVAL_S", 0.0)
    insert_row(connection, "1999-01-01")
    set_rollup_mark(connection, 1)
    running = upkeep.Retention(KEPT_DAYS * 100)  # of which no partition is old enough
    running.work(connection)
    assert count_rows(connection) == 1
    set_rollup_mark(connection)
    running.work(connection)
    assert count_rows(connection) == 0


def test_a_deleted_project_leaves_nothing_and_others_all(connection: psycopg.Connection, migrated_url: str) -> None:
    gone, other = create_project(connection, "gone"), create_project(connection, "other")
    for project in (gone, other):
        create_key(connection, project.id, "key")
    for moment in (NOW, NOW - timedelta(days=2), "1999-01-01"):
        for number in (gone.number, other.number):
            row = insert_row(connection, moment)
            connection.execute("UPDATE http_request_rows SET project = %s WHERE id = %s", (number, row))
    delete_project(connection, gone)
    assert list_keys(connection, gone.id) == []
    with connect(migrated_url) as second:
        while delete_deleted_projects(second):
            pass
    assert [row["project_id"] for row in rows_by_id(connection)] == [other.id] * 3
    assert create_project(connection, "gone").number > other.number > PROJECT_NUMBER
