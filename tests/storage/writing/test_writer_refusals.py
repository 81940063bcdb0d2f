"""Batches that Postgres refuses: they fail alone, and those that shared a flush with them are stored."""

from concurrent.futures import wait

import psycopg
import pytest

from storage.errors import BatchRefusedError, StorageError, StorageUnavailableError
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch
from storage.writing.slow_path import SlowPath
from tests.patience import PATIENCE_S
from tests.storage.database_door import DatabaseDoor
from tests.storage.defaults import set_default
from tests.storage.event_loop import EventLoop
from tests.storage.rows import REFUSED_TEXT, count_rows, encoded, refused_batch
from tests.storage.submitting import Stored, Writer, open_writer, submit, submit_together, withdraw
from tests.storage.waiting import (
    backends,
    busy_writer,
    closed_gate,
    committing_writer,
    count_waiting,
    in_background,
    terminate_backends,
    wait_until,
)

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

LARGE = "x" * 100_000


@pytest.mark.parametrize(
    "refused",
    [
        refused_batch(),
        encoded(path="a\0b"),
        encoded(50, path=LARGE, method=REFUSED_TEXT),
        EncodedBatch(1, b"\0\x12 garbage", None, HTTP_REQUESTS.form),
        EncodedBatch(1, encoded().data[:50], None, HTTP_REQUESTS.form),
        EncodedBatch(2, encoded().data + b"\0\x01\0\0\0\0", None, HTTP_REQUESTS.form),
    ],
    ids=["nul", "another nul", "large", "garbage", "cut off", "second row broken"],
)
def test_a_refused_batch_fails_alone(
    connection: psycopg.Connection, writer: Writer, migrated_url: str, refused: EncodedBatch
) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        before = [submit(writer, encoded(2)) for _ in range(2)]
        bad = submit(writer, refused)
        after = [submit(writer, encoded(3)) for _ in range(2)]
        release()
        assert is_refused(bad)
        assert [stored.result(PATIENCE_S) for stored in [busy, *before, *after]] == [1, 2, 2, 3, 3]
    assert count_rows(connection) == 11


def test_several_refused_batches_of_one_flush_fail_alone(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        good: list[Stored] = [busy]
        bad: list[Stored] = []
        for _ in range(5):
            bad += [submit(writer, refused_batch()), submit(writer, encoded(path="a\0b"))]
            good.append(submit(writer, encoded()))
        release()
        assert all(map(is_refused, bad))
        assert [stored.result(PATIENCE_S) for stored in good] == [1] * 6
    assert count_rows(connection) == 6


def test_refused_batches_leave_the_writer_working(connection: psycopg.Connection, writer: Writer) -> None:
    for _ in range(5):
        assert is_refused(submit(writer, refused_batch()))
    assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 1


def test_batches_go_on_beside_those_that_are_sorted_out(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    with busy_writer(writer, connection, migrated_url) as (busy, release):
        queued = [submit(writer, encoded()) for _ in range(20)]
        bad = submit(writer, refused_batch())
        release()
        later = [submit(writer, encoded()) for _ in range(20)]
        assert is_refused(bad)
        assert [stored.result(PATIENCE_S) for stored in [busy, *queued, *later]] == [1] * 41
    assert count_rows(connection) == 41


def test_a_refusal_that_comes_while_more_rows_could_be_added_is_noticed(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    """The server says no as soon as it reads the row, and nothing more at the end of the COPY."""
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        # The second pushes the end of the first out of libpq's buffer.
        bad, good = submit_together(writer, [encoded(path=LARGE, method=REFUSED_TEXT), encoded(path=LARGE)])
        wait_until(lambda: len(backends(connection, "idle")) == 1)
        release()
        assert is_refused(bad)
        assert (committing.result(PATIENCE_S), good.result(PATIENCE_S)) == (1, 1)
    assert count_rows(connection) == 2


def test_a_refusal_that_comes_while_much_is_still_to_be_sent_is_noticed(
    connection: psycopg.Connection, writer: Writer
) -> None:
    batches = [refused_batch(), *(encoded(10, path=LARGE) for _ in range(5))]
    for _ in range(5):
        bad, *good = submit_together(writer, batches)
        assert is_refused(bad)
        assert [stored.result(PATIENCE_S) for stored in good] == [10] * 5
    assert count_rows(connection) == 250


@pytest.mark.parametrize("withdrawn", [[0], [1], [0, 2], [0, 1, 2]])
def test_batches_withdrawn_from_a_refused_flush_leave_nothing_unsettled(
    connection: psycopg.Connection, writer: Writer, migrated_url: str, withdrawn: list[int]
) -> None:
    with committing_writer(writer, connection, migrated_url) as (committing, release):
        batches = [encoded(user_id="good"), refused_batch(), encoded(user_id="good")]
        filling = submit_together(writer, batches)
        # The server may have refused them by then.
        wait_until(lambda: len(backends(connection, "filling") + backends(connection, "idle")) == 1)
        for number in withdrawn:
            withdraw(writer, filling[number])
        release()
        assert committing.result(PATIENCE_S) == 1
        good = [filling[number] for number in (0, 2) if number not in withdrawn]
        assert [stored.result(PATIENCE_S) for stored in good] == [1] * len(good)
        assert 1 in withdrawn or is_refused(filling[1])
    assert_closes_at_once(writer)
    assert len(good) <= count_rows(connection) - 1 <= 2


def test_an_outage_while_batches_are_sorted_out_is_sat_out_once(
    loop: EventLoop,
    connection: psycopg.Connection,
    door: DatabaseDoor,
    migrated_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 1.0)
    with open_writer(loop, door.url) as writer, closed_gate(connection, migrated_url):
        with busy_writer(writer, connection, migrated_url) as (busy, release):
            batches = [busy, *(submit(writer, encoded()) for _ in range(30)), submit(writer, refused_batch())]
            release()
            # The first of them is alone in its COPY now.
            wait_until(lambda: count_waiting(connection, "advisory") == 1)
            door.shut()
            terminate_backends(connection)
            assert wait(batches, timeout=60).not_done == set()
        assert all(isinstance(stored.exception(), StorageUnavailableError) for stored in batches)
    assert count_rows(connection) == 0


def test_a_read_only_database_fails_batches_until_it_can_be_written_again(
    connection: psycopg.Connection, writer: Writer, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 0.2)
    set_default(migrated_url, "default_transaction_read_only", "on")
    stored = [submit(writer, encoded()) for _ in range(3)]
    assert all(isinstance(batch.exception(PATIENCE_S), StorageError) for batch in stored)
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 3_600.0)
    set_default(migrated_url, "default_transaction_read_only", "off")
    terminate_backends(connection)
    assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 1


def test_a_table_that_is_missing_fails_batches_until_it_is_there_again(
    connection: psycopg.Connection, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 0.2)
    connection.execute("ALTER TABLE http_request_rows RENAME TO elsewhere")
    stored = [submit(writer, encoded()) for _ in range(3)]
    assert all(isinstance(batch.exception(PATIENCE_S), StorageError) for batch in stored)
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 3_600.0)
    connection.execute("ALTER TABLE elsewhere RENAME TO http_request_rows")
    assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert count_rows(connection) == 1


def is_refused(stored: Stored) -> bool:
    return isinstance(stored.exception(PATIENCE_S), BatchRefusedError)


def assert_closes_at_once(writer: Writer) -> None:
    """Check that the writer believes that every batch is settled."""
    with in_background(lambda: writer.close(timeout_s=20)) as closed:
        assert closed.exception(PATIENCE_S) is None
