"""Batches with idempotency keys: stored once, however often and however they are sent again."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from storage.errors import IdempotencyKeyReusedError, StorageUnavailableError
from storage.spool.spool import Spool
from storage.writing.claims import forget_claims, make_claim
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch
from storage.writing.slow_path import SlowPath
from tests.patience import PATIENCE_S
from tests.storage.database_door import DatabaseDoor
from tests.storage.event_loop import EventLoop
from tests.storage.rows import PROJECT_NUMBER, REFUSED_TEXT, count_rows, make_columns
from tests.storage.submitting import Stored, Writer, open_writer, submit, submit_together
from tests.storage.waiting import busy_writer, count_waiting, terminate_backends, transaction_holding, wait_until

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

PROJECT = uuid4()


@pytest.fixture
def far_writer(loop: EventLoop, door: DatabaseDoor, spool: Spool) -> Iterator[Writer]:
    with open_writer(loop, door.url, spool=spool) as writer:
        yield writer


def keyed(key: str, count: int = 1, *, body: bytes = b"body", project: UUID = PROJECT) -> EncodedBatch:
    """Return a batch with an idempotency key; `body` stands for what was received."""
    return HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(count), make_claim(project, key, body))


def is_reused(stored: Stored) -> bool:
    return isinstance(stored.exception(PATIENCE_S), IdempotencyKeyReusedError)


def test_a_batch_that_is_sent_again_is_stored_once(connection: psycopg.Connection, writer: Writer) -> None:
    for _ in range(3):
        assert submit(writer, keyed("a", 2)).result(PATIENCE_S) == 2
    assert submit(writer, keyed("b", 3)).result(PATIENCE_S) == 3
    assert count_rows(connection) == 5


def test_a_key_with_another_body_is_refused(connection: psycopg.Connection, writer: Writer) -> None:
    assert submit(writer, keyed("a")).result(PATIENCE_S) == 1
    assert is_reused(submit(writer, keyed("a", body=b"other")))
    assert submit(writer, keyed("a")).result(PATIENCE_S) == 1
    assert count_rows(connection) == 1


def test_keys_are_a_projects_own(connection: psycopg.Connection, writer: Writer) -> None:
    assert submit(writer, keyed("a")).result(PATIENCE_S) == 1
    assert submit(writer, keyed("a", project=uuid4(), body=b"other")).result(PATIENCE_S) == 1
    assert count_rows(connection) == 2


def test_repeats_within_one_flush_leave_their_neighbours_alone(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    assert submit(writer, keyed("old", 5)).result(PATIENCE_S) == 5
    with transaction_holding(migrated_url, "LOCK TABLE http_requests IN ACCESS EXCLUSIVE MODE") as release:
        first = submit(writer, keyed("first"))
        wait_until(lambda: count_waiting(connection) == 1)
        batches = [keyed("new", 2), keyed("old", 5), keyed("new", 2), keyed("new", body=b"other"), keyed("last", 3)]
        new, old, again, other, last = submit_together(writer, batches)
        release()
        assert [stored.result(PATIENCE_S) for stored in (first, new, old, again, last)] == [1, 2, 5, 2, 3]
        assert is_reused(other)
    assert count_rows(connection) == 11


def test_a_batch_that_is_sent_to_two_writers_at_once_is_stored_once(
    loop: EventLoop, connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    keys = [str(number) for number in range(50)]
    with open_writer(loop, migrated_url) as other:
        stored = submit_together(writer, [keyed(key) for key in keys])
        stored += submit_together(other, [keyed(key) for key in reversed(keys)])
        assert [batch.result(PATIENCE_S) for batch in stored] == [1] * 100
    assert count_rows(connection) == 50


def test_a_refused_batch_leaves_its_key_free(connection: psycopg.Connection, writer: Writer) -> None:
    refused = HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(path=REFUSED_TEXT), make_claim(PROJECT, "a", b"body"))
    assert submit(writer, refused).exception(PATIENCE_S) is not None
    assert submit(writer, keyed("a", body=b"other")).result(PATIENCE_S) == 1
    assert count_rows(connection) == 1


def test_a_commit_whose_connection_is_lost_is_tried_again(
    connection: psycopg.Connection, writer: Writer, migrated_url: str
) -> None:
    """Without a key it could not: whether the rows are stored would not be known."""
    with busy_writer(writer, connection, migrated_url, keyed("a", 2)) as (busy, release):
        terminate_backends(connection)
        wait_until(lambda: count_waiting(connection) == 1)
        release()
        assert busy.result(PATIENCE_S) == 2
    assert count_rows(connection) == 2


def test_a_key_is_forgotten_after_a_day(connection: psycopg.Connection, writer: Writer) -> None:
    for key in ("old", "young"):
        assert submit(writer, keyed(key)).result(PATIENCE_S) == 1
    age = "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE id = %s"
    connection.execute(age, (UUID(bytes=make_claim(PROJECT, "old", b"").id),))
    assert forget_claims(connection) == 1
    assert [submit(writer, keyed(key)).result(PATIENCE_S) for key in ("old", "young")] == [1, 1]
    assert count_rows(connection) == 3


def test_repeats_during_an_outage_are_spooled_once(
    connection: psycopg.Connection, door: DatabaseDoor, far_writer: Writer, spool: Spool
) -> None:
    assert submit(far_writer, keyed("before")).result(PATIENCE_S) == 1
    door.shut()
    terminate_backends(connection)
    assert [submit(far_writer, keyed("during")).result(PATIENCE_S) for _ in range(3)] == [1] * 3
    assert is_reused(submit(far_writer, keyed("during", body=b"other")))
    assert spool.status().batches == 1


def test_without_a_spool_a_batch_of_a_long_outage_may_be_sent_again(
    loop: EventLoop, connection: psycopg.Connection, door: DatabaseDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 0.2)
    door.shut()
    with open_writer(loop, door.url) as writer:
        assert isinstance(submit(writer, keyed("a")).exception(PATIENCE_S), StorageUnavailableError)
        door.open()
        assert submit(writer, keyed("a")).result(PATIENCE_S) == 1
    assert count_rows(connection) == 1
