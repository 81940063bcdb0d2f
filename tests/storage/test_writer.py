"""What the writer does with batches while all is well."""

import random
from itertools import count
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from storage.errors import BatchRefusedError, WriterOverloadedError
from storage.http_requests import encode_batch
from storage.writer import EventWriter, Submission
from tests.storage.rows import count_rows, encoded, make_columns, stored_traces
from tests.storage.submitting import Stored, submit, submit_withdrawn
from tests.storage.waiting import busy_flushers, count_waiting, in_background, run_at_once, wait_until


def test_a_batch_is_stored_when_its_submitter_is_told(connection: psycopg.Connection, writer: EventWriter) -> None:
    columns = make_columns(3)
    assert submit(writer, encode_batch(uuid4(), columns)).result(20) == 3
    assert stored_traces(connection) == sorted(columns.trace_id)


def test_many_threads_at_once_get_exactly_what_they_are_told_stored(
    connection: psycopg.Connection, writer: EventWriter
) -> None:
    numbers = count()

    def submit_many() -> list[str]:
        chooser = random.Random(next(numbers))
        submitted: list[tuple[list[str], Stored]] = []
        for _ in range(60):
            is_refused = chooser.random() < 0.02
            columns = make_columns(chooser.randint(1, 20), direction="sideways" if is_refused else "inbound")
            submitted.append((list(columns.trace_id), submit(writer, encode_batch(uuid4(), columns))))
        acknowledged: list[str] = []
        for traces, stored in submitted:
            try:
                assert stored.result(60) == len(traces)
            except BatchRefusedError:
                continue
            acknowledged += traces
        return acknowledged

    acknowledged = [trace for traces in run_at_once(8, submit_many) for trace in traces]
    assert stored_traces(connection) == sorted(acknowledged)


def test_batches_that_wait_leave_together_in_one_transaction(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    with busy_flushers(writer, connection, migrated_url) as (busy, release):
        queued = [submit(writer, encoded(2, user_id="queued")) for _ in range(50)]
        release()
        assert [stored.result(20) for stored in queued] == [2] * 50
        assert [stored.result(20) for stored in busy] == [1] * EventWriter.FLUSHERS
    transactions = connection.execute(
        "SELECT count(DISTINCT xmin::text), count(*) FROM http_requests WHERE user_id = 'queued'"
    ).fetchone()
    assert transactions == (1, 100)


def test_what_is_too_much_for_one_flush_is_split(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    batch = encoded(path="x" * (EventWriter.MAX_FLUSH_BYTES // 2 - 1_000))
    with busy_flushers(writer, connection, migrated_url) as (_, release):
        queued = [submit(writer, batch) for _ in range(4)]
        release()
        assert [stored.result(20) for stored in queued] == [1] * 4
    transactions = connection.execute(
        "SELECT count(DISTINCT xmin::text), count(*) FROM http_requests WHERE length(path) > 1000000"
    ).fetchone()
    assert transactions == (2, 4)


def test_a_batch_larger_than_a_flush_is_stored(connection: psycopg.Connection, writer: EventWriter) -> None:
    assert submit(writer, encoded(path="x" * (EventWriter.MAX_FLUSH_BYTES + 1))).result(20) == 1
    assert count_rows(connection) == 1


def test_a_full_queue_refuses_at_once_and_keeps_what_it_took(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    batch = encoded(path="x" * 2**20)
    room = EventWriter.MAX_QUEUED_BYTES // len(batch.data)
    with busy_flushers(writer, connection, migrated_url) as (busy, release):
        accepted = [submit(writer, batch) for _ in range(room)]
        with pytest.raises(WriterOverloadedError):
            submit(writer, batch)
        accepted.append(submit(writer, encoded()))
        assert not any(stored.done() for stored in busy + accepted)
        release()
        assert [stored.result(30) for stored in busy + accepted] == [1] * (len(busy) + room + 1)
    assert count_rows(connection) == len(busy) + room + 1
    assert submit(writer, batch).result(20) == 1


def test_the_room_of_a_full_queue_comes_back(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    batch = encoded(path="x" * (EventWriter.MAX_QUEUED_BYTES // 2))
    for _ in range(3):
        with busy_flushers(writer, connection, migrated_url) as (_, release):
            kept = submit(writer, batch)
            with pytest.raises(WriterOverloadedError):
                submit(writer, batch)
            submit_withdrawn(writer, encoded())
            release()
            assert kept.result(20) == 1
    assert count_rows(connection) == 3 * (1 + EventWriter.FLUSHERS)


def test_a_withdrawn_batch_that_is_queued_is_not_stored(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    with busy_flushers(writer, connection, migrated_url) as (_, release):
        before = submit(writer, encoded(user_id="kept"))
        submit_withdrawn(writer, encoded(user_id="withdrawn"))
        after = submit(writer, encoded(user_id="kept"))
        release()
        assert (before.result(20), after.result(20)) == (1, 1)
    users = connection.execute("SELECT user_id FROM http_requests WHERE user_id IS NOT NULL").fetchall()
    assert users == [("kept",), ("kept",)]


def test_a_flush_of_withdrawn_batches_only_is_left_out(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    with busy_flushers(writer, connection, migrated_url) as (busy, release):
        for _ in range(3):
            submit_withdrawn(writer, encoded())
        release()
        assert [stored.result(20) for stored in busy] == [1] * EventWriter.FLUSHERS
    assert submit(writer, encoded()).result(20) == 1
    assert count_rows(connection) == EventWriter.FLUSHERS + 1


def test_all_who_wait_for_one_flush_are_woken_by_one_call_after_its_commit(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    calls: list[list[int]] = []
    visible: list[int] = []

    def wake(submissions: list[Submission[int]]) -> None:
        visible.append(count_rows(connection))
        calls.append([submission.waiter for submission in submissions])

    with busy_flushers(writer, connection, migrated_url) as (busy, release):
        for number in range(20):
            writer.submit(encoded(), number, wake)
        release()
        wait_until(lambda: calls != [])
        assert [stored.result(20) for stored in busy] == [1] * EventWriter.FLUSHERS
    assert calls == [list(range(20))]
    assert visible[0] >= 20


def test_close_writes_what_is_queued(connection: psycopg.Connection, pool: ConnectionPool, migrated_url: str) -> None:
    writer = EventWriter(pool)
    with busy_flushers(writer, connection, migrated_url) as (busy, release):
        queued = [submit(writer, encoded()) for _ in range(10)]
        with in_background(lambda: writer.close(timeout_s=20)) as closed:
            wait_until(lambda: is_closed(writer))
            assert not closed.done()
            release()
    assert all(stored.done() and stored.result() == 1 for stored in busy + queued)
    assert count_rows(connection) == len(busy) + 10


def test_close_does_not_wait_longer_than_it_is_told(
    connection: psycopg.Connection, pool: ConnectionPool, migrated_url: str
) -> None:
    writer = EventWriter(pool)
    with busy_flushers(writer, connection, migrated_url) as (busy, release):
        writer.close(timeout_s=0.05)
        assert count_waiting(connection) == EventWriter.FLUSHERS
        release()
        assert [stored.result(20) for stored in busy] == [1] * EventWriter.FLUSHERS


def test_a_closed_writer_takes_nothing(writer: EventWriter) -> None:
    writer.close(timeout_s=10)
    with pytest.raises(WriterOverloadedError):
        submit(writer, encoded())
    writer.close(timeout_s=10)


def is_closed(writer: EventWriter) -> bool:
    try:
        submit_withdrawn(writer, encoded())
    except WriterOverloadedError:
        return True
    return False
