"""A database that is down: batches are kept for a while, and retried."""

import time
from collections.abc import Iterator
from concurrent.futures import wait

import psycopg
import pytest

from storage.errors import StorageUnavailableError
from storage.spool.spool import Spool
from storage.writing.copier import Copier
from storage.writing.database_health import DatabaseHealth
from storage.writing.slow_path import SlowPath
from storage.writing.writer import EventWriter
from tests.patience import PATIENCE_S
from tests.storage.database_door import DatabaseDoor
from tests.storage.event_loop import EventLoop
from tests.storage.rows import count_rows, encoded, refused_batch
from tests.storage.submitting import Stored, Writer, open_writer, submit, submit_together, submit_withdrawn, withdraw
from tests.storage.waiting import (
    busy_writer,
    closed_gate,
    count_waiting,
    in_background,
    terminate_backends,
    wait_until,
)

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

QUICK_S = 0.2
SHORT_S = 0.5
LONG_S = 3_600.0


_ADD_SLOWNESS = """
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
CREATE TRIGGER slowness AFTER INSERT ON http_request_rows EXECUTE FUNCTION be_slow();
"""


@pytest.fixture
def far_writer(loop: EventLoop, door: DatabaseDoor) -> Iterator[Writer]:
    """A writer that has a connection through the door."""
    with open_writer(loop, door.url) as writer:
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
        yield writer


@pytest.fixture
def quick_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expects answers of the server at once."""
    monkeypatch.setattr(Copier, "ANSWER_TIMEOUT_S", QUICK_S)


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", SHORT_S)


@pytest.fixture
def long_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", LONG_S)


def take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let answers and connections come when they come: where all cores are busy, short times are too short."""
    monkeypatch.setattr(Copier, "ANSWER_TIMEOUT_S", LONG_S)
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", LONG_S)


def go_away(door: DatabaseDoor, connection: psycopg.Connection) -> None:
    door.shut()
    terminate_backends(connection)


@pytest.mark.usefixtures("long_patience")
def test_batches_of_a_short_outage_are_stored_once_it_is_over(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer
) -> None:
    go_away(door, connection)
    early = submit_together(far_writer, [encoded(2) for _ in range(20)])
    wait_until(lambda: is_down(far_writer))
    late = submit_together(far_writer, [encoded(3) for _ in range(20)])
    assert wait([*early, *late], timeout=SHORT_S).done == set()
    door.open()
    assert [stored.result(PATIENCE_S) for stored in [*early, *late]] == [2] * 20 + [3] * 20
    assert submit(far_writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 102


@pytest.mark.usefixtures("short_patience")
def test_batches_of_a_long_outage_fail_and_later_ones_are_stored(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        monkeypatch.setattr(SlowPath, "RETRY_FOR_S", SHORT_S)
        go_away(door, connection)
        lost = submit_together(far_writer, [encoded() for _ in range(20)])
        wait_until(lambda: is_down(far_writer))
        lost += submit_together(far_writer, [encoded() for _ in range(20)])
        assert all(map(is_unavailable, lost))
        take_time(monkeypatch)
        door.open()
        assert submit(far_writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 3


@pytest.mark.usefixtures("short_patience")
def test_batches_do_not_fail_before_patience_is_at_an_end(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer
) -> None:
    go_away(door, connection)
    began = time.monotonic()
    assert is_unavailable(submit(far_writer, encoded()))
    assert time.monotonic() - began >= SHORT_S


@pytest.mark.usefixtures("short_patience")
def test_a_writer_made_while_the_database_is_down_works_once_it_is_there(
    loop: EventLoop, connection: psycopg.Connection, door: DatabaseDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.shut()
    with open_writer(loop, door.url) as writer:
        assert is_unavailable(submit(writer, encoded()))
        take_time(monkeypatch)
        door.open()
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 1


@pytest.mark.usefixtures("long_patience")
def test_a_batch_withdrawn_during_an_outage_is_not_stored(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer
) -> None:
    go_away(door, connection)
    first, second = submit_together(far_writer, [encoded(user_id="withdrawn"), encoded(user_id="kept")])
    wait_until(lambda: is_down(far_writer))
    withdraw(far_writer, first)
    submit_withdrawn(far_writer, encoded(user_id="withdrawn"))
    door.open()
    assert second.result(PATIENCE_S) == 1
    users = connection.execute("SELECT user_id FROM http_requests WHERE user_id IS NOT NULL").fetchall()
    assert users == [("kept",)]


@pytest.mark.usefixtures("long_patience")
def test_a_refused_batch_of_an_outage_fails_alone(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer
) -> None:
    go_away(door, connection)
    before, refused, after = submit_together(far_writer, [encoded(2), refused_batch(), encoded(3)])
    wait_until(lambda: is_down(far_writer))
    door.open()
    assert (before.result(PATIENCE_S), after.result(PATIENCE_S)) == (2, 3)
    assert refused.exception(PATIENCE_S) is not None
    assert count_rows(connection) == 6


@pytest.mark.usefixtures("long_patience")
def test_more_than_one_flush_of_an_outage_is_stored(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer
) -> None:
    go_away(door, connection)
    batches = [encoded(path="x" * (EventWriter.MAX_FLUSH_BYTES // 3)) for _ in range(15)]
    batches.insert(7, encoded(path="x" * (EventWriter.MAX_FLUSH_BYTES + 1)))
    stored = submit_together(far_writer, batches)
    wait_until(lambda: is_down(far_writer))
    door.open()
    assert [batch.result(PATIENCE_S) for batch in stored] == [1] * 16
    assert count_rows(connection) == 17


@pytest.mark.usefixtures("short_patience")
def test_the_room_of_batches_that_failed_comes_back(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = encoded(path="x" * (EventWriter.MAX_PENDING_BYTES // 2))
    go_away(door, connection)
    for _ in range(2):
        assert is_unavailable(submit(far_writer, batch))
    take_time(monkeypatch)
    door.open()
    assert submit(far_writer, batch).result(PATIENCE_S) == 1


@pytest.mark.usefixtures("long_patience")
def test_close_during_an_outage_does_not_wait_longer_than_it_is_told(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer
) -> None:
    go_away(door, connection)
    lost = submit(far_writer, encoded())
    wait_until(lambda: is_down(far_writer))
    far_writer.close(timeout_s=0.05)
    door.open()
    assert is_unavailable(lost)
    assert count_rows(connection) == 1


@pytest.mark.usefixtures("long_patience")
def test_close_during_an_outage_waits_until_it_is_over(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer
) -> None:
    go_away(door, connection)
    stored = submit(far_writer, encoded())
    wait_until(lambda: is_down(far_writer))
    with in_background(lambda: far_writer.close(timeout_s=20)) as closed:
        assert wait([closed], timeout=SHORT_S).done == set()
        door.open()
    assert stored.result(PATIENCE_S) == 1
    assert count_rows(connection) == 2


@pytest.mark.usefixtures("quick_answers", "short_patience")
def test_a_server_that_takes_no_rows_for_long_fails_batches_and_takes_later_ones(
    connection: psycopg.Connection, migrated_url: str, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        queued = submit(writer, encoded())
        assert is_unavailable(busy)
        assert is_unavailable(queued)
        take_time(monkeypatch)
        release()
        assert submit(writer, encoded(2)).result(PATIENCE_S) == 2
    assert count_rows(connection) == 2


@pytest.mark.usefixtures("quick_answers", "long_patience")
def test_a_server_that_takes_no_rows_is_not_filled_with_connections(
    connection: psycopg.Connection, migrated_url: str, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server looks after a connection that was given up only once it gets the lock it waits for, if not told to."""
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        time.sleep(12 * QUICK_S)
        assert count_waiting(connection) <= 5
        take_time(monkeypatch)
        release()
        assert busy.result(PATIENCE_S) == 1
    assert count_rows(connection) == 1


@pytest.mark.usefixtures("quick_answers", "long_patience")
def test_a_commit_that_is_not_answered_in_time_is_not_stored_twice(
    connection: psycopg.Connection, writer: Writer
) -> None:
    connection.execute(_ADD_SLOWNESS)
    slow = submit(writer, encoded())
    wait_until(lambda: is_down(writer))
    connection.execute("DROP TRIGGER slowness ON http_request_rows")
    assert (slow.result(PATIENCE_S), submit(writer, encoded(2)).result(PATIENCE_S)) == (1, 2)
    assert count_rows(connection) == 3


@pytest.mark.usefixtures("quick_answers", "short_patience")
def test_a_commit_that_stays_without_answer_fails_its_batch_and_is_not_made_later(
    connection: psycopg.Connection, writer: Writer, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_gate(connection, migrated_url) as open_gate:
        assert is_unavailable(submit(writer, encoded()))
        wait_until(lambda: count_waiting(connection) == 0)
        open_gate()
    take_time(monkeypatch)
    assert submit(writer, encoded(2)).result(PATIENCE_S) == 2
    assert count_rows(connection) == 2


def test_a_database_that_was_down_at_first_is_used_once_it_is_up(
    loop: EventLoop, connection: psycopg.Connection, door: DatabaseDoor, spool: Spool
) -> None:
    door.shut()
    with open_writer(loop, door.url, spool=spool) as writer:
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
        assert is_down(writer)
        door.open()
        wait_until(lambda: not is_down(writer))
        assert submit(writer, encoded(2)).result(PATIENCE_S) == 2
    assert spool.status().batches == 1
    assert count_rows(connection) == 2


def test_a_probe_that_goes_wrong_is_not_the_last(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    probes: list[int] = []

    async def go_wrong_at_first() -> bool:
        probes.append(len(probes))
        return 1 // probes[-1] == 1

    health = loop.call(lambda: DatabaseHealth(go_wrong_at_first))
    loop.call(lambda: health.mark_down(psycopg.OperationalError("no")))
    wait_until(lambda: not health.is_down)
    loop.run(health.close())
    assert "ZeroDivisionError" in caplog.text


def is_down(writer: Writer) -> bool:
    """Tell whether the writer has noticed that the database is down."""
    return writer.loop.call(lambda: writer.events.health.is_down)


def is_unavailable(stored: Stored) -> bool:
    return isinstance(stored.exception(PATIENCE_S), StorageUnavailableError)
