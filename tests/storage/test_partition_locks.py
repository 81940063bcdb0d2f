"""Making partitions beside others who use the table."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

import storage.partitions
from storage.database import connect
from storage.partitions import ensure_partitions, partition_name
from tests.patience import PATIENCE_S
from tests.storage.rows import count_rows, encoded, microseconds, rows_by_id, table_of
from tests.storage.submitting import Writer, submit, submit_together
from tests.storage.waiting import count_waiting, in_background, transaction_holding, wait_until, wait_until_filling

TODAY = datetime.now(UTC).date()
NEW_DAY = TODAY + timedelta(days=8)
GATE = 42

# Whoever takes rows out of `ahead` waits there until the gate is open.
_ADD_GATE = f"""
CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NULL; END';
CREATE TRIGGER gate BEFORE DELETE ON http_request_rows_ahead EXECUTE FUNCTION pass_gate();
"""


_ADD_GATE_OF_TODAY = f"""
CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END';
CREATE TRIGGER gate BEFORE INSERT ON {partition_name(TODAY)} FOR EACH ROW EXECUTE FUNCTION pass_gate();
"""


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def ensure_tomorrows(url: str) -> list[str]:
    with connect(url) as connection:
        return ensure_partitions(connection, TODAY + timedelta(days=1))


def lock_ahead(url: str) -> None:
    """Wait for the default partition as `VACUUM FULL` does: with all others behind."""
    with psycopg.connect(url, options="-c lock_timeout=60s") as connection:
        connection.execute("LOCK TABLE http_request_rows_ahead IN ACCESS EXCLUSIVE MODE")


@pytest.fixture
def gate(
    connection: psycopg.Connection, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[psycopg.Connection]:
    """A connection that keeps the gate closed until its transaction ends."""
    connection.execute(_ADD_GATE.encode())
    monkeypatch.setattr(storage.partitions, "LOCK_TIMEOUT", "60s")
    with psycopg.connect(migrated_url) as gate:
        gate.execute("SELECT pg_advisory_xact_lock(%s)", (GATE,))
        yield gate


def test_a_long_transaction_on_the_default_partition_is_not_waited_for(
    connection: psycopg.Connection, migrated_url: str
) -> None:
    with transaction_holding(migrated_url, "LOCK TABLE http_request_rows_ahead IN ROW EXCLUSIVE MODE"):
        with pytest.raises(psycopg.errors.LockNotAvailable):
            ensure_tomorrows(migrated_url)
        assert connection.execute("SELECT to_regclass(%s)", (partition_name(NEW_DAY),)).fetchone() == (None,)
    assert ensure_tomorrows(migrated_url) == [partition_name(NEW_DAY)]


def test_the_lock_timeout_ends_with_the_transaction(connection: psycopg.Connection) -> None:
    before = connection.execute("SHOW lock_timeout").fetchone()
    ensure_partitions(connection, TODAY + timedelta(days=1))
    assert connection.execute("SHOW lock_timeout").fetchone() == before


@pytest.mark.one_postgres("a distributed table can have no trigger that holds others up")
def test_a_row_written_while_its_partition_is_attached_is_stored_in_it(
    connection: psycopg.Connection, gate: psycopg.Connection, migrated_url: str, writer: Writer
) -> None:
    with in_background(lambda: ensure_tomorrows(migrated_url)) as made:
        wait_until(lambda: count_waiting(connection) == 1)
        stored = submit(writer, encoded(timestamp=microseconds(noon(NEW_DAY))))
        wait_until(lambda: count_waiting(connection) == 2)
        gate.rollback()
    assert made.result() == [partition_name(NEW_DAY)]
    assert stored.result(PATIENCE_S) == 1
    (row,) = rows_by_id(connection)
    assert table_of(connection, row["id"]) == partition_name(NEW_DAY)


@pytest.mark.one_postgres("a distributed table can have no trigger that holds others up")
def test_a_reader_beside_an_attach_is_not_cut_off(
    connection: psycopg.Connection, gate: psycopg.Connection, migrated_url: str
) -> None:
    def read() -> int:
        with connect(migrated_url) as reader:
            return count_rows(reader)

    with in_background(lambda: ensure_tomorrows(migrated_url)) as made:
        wait_until(lambda: count_waiting(connection) == 1)
        with in_background(read) as counted:
            wait_until(lambda: count_waiting(connection) == 2)
            gate.rollback()
    assert made.result() == [partition_name(NEW_DAY)]
    assert counted.result() == 0


@pytest.mark.one_postgres("a distributed table can have no trigger that holds others up")
def test_a_lock_asked_for_between_two_flushes_stops_neither(
    connection: psycopg.Connection, migrated_url: str, writer: Writer
) -> None:
    """The flush being filled holds a partition that somebody else waits for, and the one being committed, for them."""
    today, ahead = microseconds(noon(TODAY)), microseconds(noon(NEW_DAY))
    connection.execute(_ADD_GATE_OF_TODAY.encode())
    writer.events.MAX_WAIT_S = PATIENCE_S  # until somebody else has asked
    with transaction_holding(migrated_url, f"SELECT pg_advisory_xact_lock({GATE})") as open_gate:
        committing = submit_together(writer, [encoded(timestamp=moment) for moment in (today, ahead)])
        wait_until(lambda: count_waiting(connection, "advisory") == 1)
        filling = submit_together(writer, [encoded(timestamp=ahead, path="x" * 20_000) for _ in range(2)])
        wait_until_filling(connection)
        with in_background(lambda: lock_ahead(migrated_url)) as locked:
            wait_until(lambda: count_waiting(connection, "relation") == 1)
            open_gate()
            writer.events.MAX_WAIT_S = 0.0
            filling.append(submit(writer, encoded(timestamp=ahead)))  # at which the flush is looked at again
            assert [stored.result(PATIENCE_S) for stored in [*committing, *filling]] == [1] * 5
    assert locked.exception() is None


@pytest.mark.one_postgres("a distributed table can have no trigger that holds others up")
def test_rows_of_days_with_a_partition_are_written_while_another_is_attached(
    connection: psycopg.Connection, gate: psycopg.Connection, migrated_url: str, writer: Writer
) -> None:
    with in_background(lambda: ensure_tomorrows(migrated_url)):
        wait_until(lambda: count_waiting(connection) == 1)
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
        assert count_waiting(connection) == 1
        gate.rollback()
