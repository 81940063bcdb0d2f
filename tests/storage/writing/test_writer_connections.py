"""Connections that are cut off: each batch is stored exactly once and acknowledged, or fails as unavailable."""

import random
import time
from pathlib import Path

import psycopg
import pytest

from storage.errors import StorageUnavailableError
from storage.writing.slow_path import SlowPath
from tests.patience import PATIENCE_S
from tests.storage.cutting_proxy import cutting_proxy
from tests.storage.database_door import DatabaseDoor
from tests.storage.event_loop import EventLoop
from tests.storage.load import Load
from tests.storage.rows import count_rows, encoded
from tests.storage.submitting import Stored, Writer, open_writer, submit, submit_on_loop, submit_together
from tests.storage.waiting import (
    backends,
    busy_writer,
    closed_gate,
    committing_writer,
    count_waiting,
    terminate_backends,
    wait_until,
    wait_until_filling,
)

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")


def test_connections_lost_while_idle_cost_no_batch(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with committing_writer(writer, connection, migrated_url):
        submit(writer, encoded())
        wait_until_filling(connection)
    wait_until(lambda: count_rows(connection) == 2)
    assert terminate_backends(connection, "idle") == 2
    assert [stored.result(PATIENCE_S) for stored in submit_together(writer, [encoded()] * 3)] == [1] * 3
    assert count_rows(connection) == 5


def test_connections_lost_while_idle_and_not_noticed_yet_cost_no_batch(
    connection: psycopg.Connection, writer: Writer
) -> None:
    assert submit(writer, encoded()).result(PATIENCE_S) == 1

    def lose_and_submit() -> list[Stored]:
        terminate_backends(connection)
        return submit_on_loop(writer, [encoded(path="x" * 100_000) for _ in range(5)])

    assert [stored.result(PATIENCE_S) for stored in writer.loop.call(lose_and_submit)] == [1] * 5
    assert count_rows(connection) == 6


def test_a_flush_cut_off_before_its_rows_were_sent_is_tried_again(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        queued = submit(writer, encoded(2))
        for _ in range(3):
            assert terminate_backends(connection, "held up") == 1
            wait_until(lambda: count_waiting(connection) == 1)
        release()
        assert (busy.result(PATIENCE_S), queued.result(PATIENCE_S)) == (1, 2)
    assert count_rows(connection) == 3


def test_a_flush_cut_off_while_rows_are_added_is_tried_again(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        filling = submit_together(writer, [encoded(2), encoded(3, path="x" * 100_000)])
        wait_until_filling(connection)
        assert terminate_backends(connection, "filling") == 1
        filling.append(submit(writer, encoded(4)))
        release()
        assert [stored.result(PATIENCE_S) for stored in [committing, *filling]] == [1, 2, 3, 4]
    assert count_rows(connection) == 10


def test_a_flush_cut_off_and_not_noticed_yet_while_rows_are_added_is_tried_again(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    def lose_and_submit() -> list[Stored]:
        assert terminate_backends(connection, "filling") == 1
        return submit_on_loop(writer, [encoded(path="x" * 100_000) for _ in range(10)])

    with committing_writer(writer, connection, migrated_url) as (committing, release):
        filling = submit(writer, encoded(2))
        wait_until_filling(connection)
        added = writer.loop.call(lose_and_submit)
        release()
        assert [stored.result(PATIENCE_S) for stored in [committing, filling, *added]] == [1, 2] + [1] * 10
    assert count_rows(connection) == 13


def test_a_flush_cut_off_between_its_start_and_its_first_row_is_tried_again(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    """The answer that rows may come is still unread when the connection is gone."""
    batches = [encoded(path="x" * 100_000) for _ in range(10)]
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        queued = submit_together(writer, batches)

        def release_and_lose() -> None:
            release()
            wait_until_filling(connection)
            assert terminate_backends(connection, "filling") == 1

        writer.loop.call(release_and_lose)
        assert [stored.result(PATIENCE_S) for stored in [busy, *queued]] == [1] * 11
    assert count_rows(connection) == 11


def test_a_flush_cut_off_while_it_is_committed_is_not_stored_twice(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        filling = submit(writer, encoded(2))
        wait_until_filling(connection)
        assert terminate_backends(connection, "held up") == 1
        release()
        assert (committing.result(PATIENCE_S), filling.result(PATIENCE_S)) == (1, 2)
    assert count_rows(connection) == 3


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_flush_cut_off_with_unread_rows_is_not_stored_twice(
    connection: psycopg.Connection, writer: Writer, migrated_url: str, *, is_committed: bool
) -> None:
    """The server leaves data unread in the socket, which the system reports as an error of the connection."""
    batches = [encoded(path="x" * 20_000) for _ in range(8)]
    with committing_writer(writer, connection, migrated_url, each_row=True) as (committing, release):
        if is_committed:
            writer.events.MAX_WAIT_S = 0
        others = submit_together(writer, batches)
        wait_until(lambda: count_waiting(connection) == 2)
        assert terminate_backends(connection, "held up") == 2
        release()
        acknowledged = sum(map(rows_acknowledged, [committing, *others]))
    assert count_rows(connection) == acknowledged
    assert submit(writer, encoded()).result(PATIENCE_S) == 1


def test_all_connections_cut_off_at_work_store_nothing_twice(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        filling = submit(writer, encoded(2))
        wait_until_filling(connection)
        assert terminate_backends(connection) == 2
        release()
        acknowledged = rows_acknowledged(committing) + rows_acknowledged(filling)
    assert count_rows(connection) == acknowledged
    assert submit(writer, encoded()).result(PATIENCE_S) == 1


def test_a_commit_that_was_answered_before_the_connection_was_lost_is_acknowledged(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with committing_writer(writer, connection, migrated_url) as (committing, release):

        def release_and_lose() -> None:
            release()
            wait_until(lambda: count_rows(connection) == 1)
            assert terminate_backends(connection) == 1

        writer.loop.call(release_and_lose)
        assert committing.result(PATIENCE_S) == 1
    assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 2


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_flush_whose_answer_is_cut_off_is_not_stored_twice(
    loop: EventLoop, connection: psycopg.Connection, migrated_url: str, data_folder: Path, share: float
) -> None:
    with cutting_proxy(loop, migrated_url, data_folder, share=share) as proxy, open_writer(loop, proxy.url) as writer:
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
        assert proxy.cuts == 1
        assert submit(writer, encoded(2)).result(PATIENCE_S) == 2
    assert count_rows(connection) == 3


def test_a_statement_that_is_cancelled_is_not_stored_twice(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with busy_writer(writer, connection, migrated_url) as (starting, release):
        connection.execute(cancel)
        wait_until(lambda: count_waiting(connection) == 1)
        release()
        assert starting.result(PATIENCE_S) == 1
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        before = backends(connection, "held up")
        connection.execute(cancel)
        wait_until(lambda: backends(connection, "held up") != before)
        release()
    assert count_rows(connection) == 1 + rows_acknowledged(committing)
    assert submit(writer, encoded()).result(PATIENCE_S) == 1


def test_a_second_try_cut_off_while_it_is_committed_is_not_stored_twice(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with (
        closed_gate(connection, migrated_url) as open_gate,
        busy_writer(writer, connection, migrated_url) as (retried, release),
    ):
        terminate_backends(connection)
        wait_until(lambda: count_waiting(connection, "relation") == 1)
        release()
        wait_until(lambda: count_waiting(connection, "advisory") == 1)
        assert terminate_backends(connection, "held up") == 1
        open_gate()
    assert count_rows(connection) == rows_acknowledged(retried)
    assert submit(writer, encoded()).result(PATIENCE_S) == 1


def test_close_beside_a_connection_that_is_lost_ends_quietly(
    loop: EventLoop, connection: psycopg.Connection, migrated_url: str
) -> None:
    """The loss of the slow path's connection is noticed while the slow path is closed."""
    writer = Writer(loop, migrated_url)
    with busy_writer(writer, connection, migrated_url) as (busy, _):
        terminate_backends(connection)
        wait_until(lambda: count_waiting(connection) == 1)

        async def lose_and_close() -> None:
            terminate_backends(connection)
            await writer.events.close(0)

        loop.run(lose_and_close())
        busy.cancel()
    assert count_rows(connection) == 0


def test_connections_cut_off_at_random_lose_and_double_nothing(connection: psycopg.Connection, writer: Writer) -> None:
    chooser = random.Random()
    with Load(writer) as load:
        for _ in range(30):
            terminate_backends(connection, chooser.choice(["any", "idle", "held up", "filling"]))
            time.sleep(chooser.uniform(0, 0.04))
    load.assert_stored(connection)
    assert submit(writer, encoded()).result(PATIENCE_S) == 1


def test_a_database_that_goes_away_and_comes_back_at_random_loses_and_doubles_nothing(
    loop: EventLoop, connection: psycopg.Connection, door: DatabaseDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 0.2)
    chooser = random.Random()
    with open_writer(loop, door.url) as writer:
        with Load(writer) as load:
            for _ in range(8):
                time.sleep(chooser.uniform(0, 0.1))
                door.shut()
                terminate_backends(connection)
                time.sleep(chooser.uniform(0, 0.4))
                door.open()
        load.assert_stored(connection)
        monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 3_600.0)
        assert submit(writer, encoded()).result(PATIENCE_S) == 1


def rows_acknowledged(stored: Stored) -> int:
    """Wait for a batch and return its number of rows if it was stored, 0 if the database was not available."""
    try:
        return stored.result(PATIENCE_S)
    except StorageUnavailableError:
        return 0
