"""What the writer does with batches while all is well."""

import asyncio
import random
from itertools import count

import psycopg
import pytest

from storage.errors import BatchRefusedError, StorageUnavailableError, WriterOverloadedError
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.writer import EventWriter
from tests.patience import PATIENCE_S
from tests.storage.defaults import set_default
from tests.storage.event_loop import EventLoop
from tests.storage.rows import (
    PROJECT_NUMBER,
    REFUSED_TEXT,
    count_rows,
    count_transactions,
    encoded,
    make_columns,
    refused_batch,
    rows_by_transaction,
    stored_traces,
)
from tests.storage.submitting import Stored, Writer, open_writer, submit, submit_together, submit_withdrawn, withdraw
from tests.storage.waiting import (
    backends,
    busy_writer,
    committing_writer,
    count_waiting,
    in_background,
    run_at_once,
    wait_until,
    wait_until_filling,
)

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

_NOTE_SETTING = """
CREATE TABLE noted (setting text);
CREATE FUNCTION note_setting() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO noted VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END';
CREATE TRIGGER note AFTER INSERT ON http_request_rows EXECUTE FUNCTION note_setting();
"""


def test_a_batch_is_stored_when_its_submitter_is_told(connection: psycopg.Connection, writer: Writer) -> None:
    columns = make_columns(3)
    assert submit(writer, HTTP_REQUESTS.encode(PROJECT_NUMBER, columns)).result(PATIENCE_S) == 3
    assert stored_traces(connection) == sorted(columns["trace_id"])


def test_a_commit_is_on_disk_before_the_submitter_is_told_whatever_the_default(
    loop: EventLoop, connection: psycopg.Connection, migrated_url: str
) -> None:
    connection.execute(_NOTE_SETTING.encode())
    set_default(migrated_url, "synchronous_commit", "off")
    with open_writer(loop, migrated_url) as writer:
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert connection.execute("SELECT setting FROM noted").fetchall() == [("on",)]


def test_many_threads_at_once_get_exactly_what_they_are_told_stored(
    connection: psycopg.Connection, writer: Writer
) -> None:
    numbers = count()

    def submit_many() -> list[str]:
        chooser = random.Random(next(numbers))
        submitted: list[tuple[list[str], Stored]] = []
        for _ in range(60):
            is_refused = chooser.random() < 0.02
            columns = make_columns(chooser.randint(1, 20), method=REFUSED_TEXT if is_refused else "GET")
            submitted.append((list(columns["trace_id"]), submit(writer, HTTP_REQUESTS.encode(PROJECT_NUMBER, columns))))
        acknowledged: list[str] = []
        for traces, stored in submitted:
            try:
                assert stored.result(PATIENCE_S) == len(traces)
            except BatchRefusedError:
                continue
            acknowledged += traces
        return acknowledged

    acknowledged = [trace for traces in run_at_once(8, submit_many) for trace in traces]
    assert stored_traces(connection) == sorted(acknowledged)


def test_a_lone_batch_does_not_wait_for_others(
    connection: psycopg.Connection, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EventWriter, "MAX_FLUSH_AGE_S", 3_600)
    for _ in range(20):
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert count_transactions(connection) == 20


def test_a_batch_that_comes_after_many_is_not_left_waiting_for_as_many_again(
    connection: psycopg.Connection, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer may fire a bit early, and be the only one."""
    monkeypatch.setattr(EventWriter, "CLOCK_TOLERANCE_S", 0.0, raising=False)
    for _ in range(20):
        assert [stored.result(PATIENCE_S) for stored in submit_together(writer, [encoded()] * 5)] == [1] * 5
        assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 120


def test_senders_at_once_share_few_transactions(connection: psycopg.Connection, writer: Writer) -> None:
    senders, rounds = 100, 10

    async def send() -> None:
        for _ in range(rounds):
            assert await writer.events.submit(encoded()).stored() == 1

    async def send_at_once() -> None:
        await asyncio.gather(*(send() for _ in range(senders)))

    writer.loop.run(send_at_once())
    assert count_rows(connection) == senders * rounds
    assert count_transactions(connection) <= senders * rounds / 10
    assert len(backends(connection)) <= EventWriter.CONNECTIONS


def test_batches_that_wait_leave_together_in_one_transaction(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        queued = [submit(writer, encoded(2)) for _ in range(50)]
        release()
        assert [stored.result(PATIENCE_S) for stored in queued] == [2] * 50
        assert busy.result(PATIENCE_S) == 1
    assert (count_transactions(connection), count_rows(connection)) == (1, 101)


def test_batches_that_come_during_a_commit_leave_together_in_the_next(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        following = [submit(writer, encoded(2)) for _ in range(50)]
        assert not committing.done()
        release()
        assert [stored.result(PATIENCE_S) for stored in following] == [2] * 50
        assert committing.result(PATIENCE_S) == 1
    assert (count_transactions(connection), count_rows(connection)) == (2, 101)


def test_a_client_that_a_commit_answered_is_in_time_for_the_next_one(
    connection: psycopg.Connection, writer: Writer, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EventWriter, "MAX_FLUSH_AGE_S", 0.0)
    monkeypatch.setattr(EventWriter, "RETURN_S", 3_600.0)
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        following = submit(writer, encoded())
        wait_until_filling(connection)
        release()
        assert committing.result(PATIENCE_S) == 1
        again = submit(writer, encoded())
        assert (following.result(PATIENCE_S), again.result(PATIENCE_S)) == (1, 1)
    assert (count_transactions(connection), count_rows(connection)) == (2, 3)


def test_what_is_too_much_for_one_flush_is_split(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    batch = encoded(path="x" * (EventWriter.MAX_FLUSH_BYTES // 2))
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        queued = [submit(writer, batch) for _ in range(6)]
        release()
        assert [stored.result(PATIENCE_S) for stored in [busy, *queued]] == [1] * 7
    # A flush is full with what exceeds it.
    assert rows_by_transaction(connection, "length(path) > 1000000") == [2, 2, 2]


@pytest.mark.parametrize("factor", [1, 7])
def test_a_batch_larger_than_a_flush_is_stored(connection: psycopg.Connection, writer: Writer, factor: int) -> None:
    large = encoded(path="x" * (EventWriter.MAX_FLUSH_BYTES * factor + 1))
    batches = [encoded(2), large, encoded(3)]
    assert [stored.result(PATIENCE_S) for stored in submit_together(writer, batches)] == [2, 1, 3]
    assert count_rows(connection) == 6


def test_thirty_mebibytes_at_once_are_stored_once_the_table_can_be_written(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    batches = [encoded(10, path="x" * 10_000) for _ in range(300)]
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        queued = submit_together(writer, batches)
        release()
        assert [stored.result(PATIENCE_S) for stored in queued] == [10] * 300
        assert busy.result(PATIENCE_S) == 1
    assert count_rows(connection) == 3_001


def test_a_server_that_reads_slowly_is_waited_for(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    """The sockets fill up, since the server stops reading at the first row; then the rest has to go out."""
    batches = [encoded(10, path="x" * 10_000) for _ in range(120)]
    with committing_writer(writer, connection, migrated_url, each_row=True) as (committing, release):
        following = submit_together(writer, batches)
        wait_until(lambda: count_waiting(connection) == 2)
        release()
        assert [stored.result(PATIENCE_S) for stored in following] == [10] * 120
        assert committing.result(PATIENCE_S) == 1
    assert count_rows(connection) == 1_201


def test_a_full_writer_refuses_at_once_and_keeps_what_it_took(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    batch = encoded(path="x" * 2**20)
    room = EventWriter.MAX_PENDING_BYTES // len(batch.data)
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        accepted = [busy, *(submit(writer, batch) for _ in range(room))]
        with pytest.raises(WriterOverloadedError):
            submit(writer, batch)
        accepted.append(submit(writer, encoded()))
        assert not any(stored.done() for stored in accepted)
        release()
        assert [stored.result(PATIENCE_S) for stored in accepted] == [1] * (room + 2)
    assert count_rows(connection) == room + 2
    assert submit(writer, batch).result(PATIENCE_S) == 1


def test_what_is_being_committed_or_filled_counts_as_taken(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    large = encoded(path="x" * (EventWriter.MAX_PENDING_BYTES - 1_000))
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        for _ in range(2):
            filling = submit(writer, encoded(2))
            wait_until_filling(connection)
        with pytest.raises(WriterOverloadedError):
            submit(writer, large)
        release()
        assert (committing.result(PATIENCE_S), filling.result(PATIENCE_S)) == (1, 2)
    assert submit(writer, large).result(PATIENCE_S) == 1


def test_the_room_of_a_full_writer_comes_back(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    half = "x" * (EventWriter.MAX_PENDING_BYTES // 2)
    batch, refused = encoded(path=half), encoded(path=half, method=REFUSED_TEXT)
    for _ in range(3):
        with busy_writer(writer, connection, migrated_url) as (_, release):
            kept = submit(writer, batch)
            with pytest.raises(WriterOverloadedError):
                submit(writer, batch)
            submit_withdrawn(writer, encoded())
            release()
            assert kept.result(PATIENCE_S) == 1
        with pytest.raises(BatchRefusedError):
            submit(writer, refused).result(PATIENCE_S)
    assert count_rows(connection) == 6


def test_a_withdrawn_batch_that_is_queued_is_not_stored(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with busy_writer(writer, connection, migrated_url) as (_, release):
        before = submit(writer, encoded(user_id="kept"))
        submit_withdrawn(writer, encoded(user_id="withdrawn"))
        after = submit(writer, encoded(user_id="kept"))
        release()
        assert (before.result(PATIENCE_S), after.result(PATIENCE_S)) == (1, 1)
    users = connection.execute("SELECT user_id FROM http_requests WHERE user_id IS NOT NULL").fetchall()
    assert users == [("kept",), ("kept",)]


def test_a_writer_whose_batches_were_all_withdrawn_goes_on(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        for _ in range(3):
            submit_withdrawn(writer, encoded())
        withdraw(writer, busy)
        release()
    assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 1


def test_a_batch_withdrawn_while_it_is_committed_disturbs_no_other(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        following = submit(writer, encoded(2))
        withdraw(writer, committing)
        release()
        assert following.result(PATIENCE_S) == 2
    assert count_rows(connection) == 3


def test_close_writes_what_is_taken(connection: psycopg.Connection, writer: Writer, migrated_url: str) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        queued = [submit(writer, encoded()) for _ in range(10)]
        refused = submit(writer, refused_batch())
        with in_background(lambda: writer.close(timeout_s=20)) as closed:
            wait_until(lambda: is_closed(writer))
            assert not closed.done()
            release()
    assert [stored.result(PATIENCE_S) for stored in [busy, *queued]] == [1] * 11
    assert isinstance(refused.exception(PATIENCE_S), BatchRefusedError)
    assert count_rows(connection) == 11


def test_close_does_not_wait_longer_than_it_is_told_and_fails_the_rest(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        writer.close(timeout_s=0.05)
        assert is_unavailable(busy)
        release()
        wait_until(lambda: backends(connection) == [])
    assert count_rows(connection) == 0


def test_close_during_a_commit_does_not_wait_longer_than_it_is_told_and_fails_the_rest(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        filling = submit(writer, encoded(2))
        wait_until_filling(connection)
        writer.close(timeout_s=0.05)
        assert is_unavailable(committing)
        assert is_unavailable(filling)
        release()
        wait_until(lambda: backends(connection) == [])
    # Either commit may have been under way, and nobody knows of it.
    assert count_rows(connection) in (0, 1, 3)


def test_close_of_an_idle_writer_waits_for_nothing(
    loop: EventLoop, connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    assert submit(writer, encoded()).result(PATIENCE_S) == 1
    writer.close(timeout_s=3_600)
    wait_until(lambda: backends(connection) == [])
    Writer(loop, migrated_url).close(timeout_s=3_600)


def test_a_closed_writer_takes_nothing(writer: Writer) -> None:
    writer.close(timeout_s=10)
    with pytest.raises(WriterOverloadedError):
        submit(writer, encoded())
    writer.close(timeout_s=10)


def is_closed(writer: Writer) -> bool:
    try:
        submit_withdrawn(writer, encoded())
    except WriterOverloadedError:
        return True
    return False


def is_unavailable(stored: Stored) -> bool:
    return isinstance(stored.exception(PATIENCE_S), StorageUnavailableError)
