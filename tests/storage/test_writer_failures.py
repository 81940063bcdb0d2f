"""What the writer does when Postgres refuses, goes away, or comes back."""

import time
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool

from storage.database import open_pool
from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.http_requests import EncodedBatch
from storage.writer import EventWriter
from tests.storage.rows import count_rows, encoded, refused_batch
from tests.storage.submitting import submit
from tests.storage.waiting import busy_flushers, count_waiting, terminate_pool_backends, wait_until

# Whoever stores rows waits at the end of its statement until the gate is open.
_ADD_GATE = """
CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END';
CREATE TRIGGER gate AFTER INSERT ON http_requests EXECUTE FUNCTION pass_gate();
"""


def fill(pool: ConnectionPool) -> None:
    """Have the pool open all its connections."""
    with ExitStack() as stack:
        for _ in range(pool.max_size):
            stack.enter_context(pool.connection())


@pytest.mark.parametrize(
    "refused",
    [
        refused_batch(),
        encoded(path="a\0b"),
        encoded(direction=""),
        EncodedBatch(1, b"\0\x0f garbage"),
        EncodedBatch(1, encoded().data[:50]),
        EncodedBatch(2, encoded().data + b"\0\x01\0\0\0\0"),
    ],
    ids=["direction", "nul", "empty direction", "garbage", "cut off", "second row broken"],
)
def test_a_refused_batch_fails_alone(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str, refused: EncodedBatch
) -> None:
    with busy_flushers(writer, connection, migrated_url) as (busy, release):
        before = [submit(writer, encoded(2)) for _ in range(2)]
        bad = submit(writer, refused)
        after = [submit(writer, encoded(3)) for _ in range(2)]
        release()
        with pytest.raises(BatchRefusedError):
            bad.result(20)
        assert [stored.result(20) for stored in before + after] == [2, 2, 3, 3]
    assert count_rows(connection) == len(busy) + 10


def test_several_refused_batches_leave_the_writer_working(connection: psycopg.Connection, writer: EventWriter) -> None:
    for _ in range(5):
        with pytest.raises(BatchRefusedError):
            submit(writer, refused_batch()).result(20)
    assert submit(writer, encoded()).result(20) == 1
    assert count_rows(connection) == 1


def test_connections_lost_between_two_flushes_cost_no_batch(
    connection: psycopg.Connection, pool: ConnectionPool, writer: EventWriter
) -> None:
    assert submit(writer, encoded()).result(20) == 1
    fill(pool)
    assert terminate_pool_backends(connection) == pool.max_size
    assert submit(writer, encoded()).result(20) == 1
    assert count_rows(connection) == 2


def test_a_flush_cut_off_before_its_rows_were_sent_is_tried_again(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    with busy_flushers(writer, connection, migrated_url) as (busy, release):
        assert terminate_pool_backends(connection) >= EventWriter.FLUSHERS
        wait_until(lambda: count_waiting(connection) == EventWriter.FLUSHERS)
        release()
        assert [stored.result(20) for stored in busy] == [1] * EventWriter.FLUSHERS
    assert count_rows(connection) == EventWriter.FLUSHERS


def test_a_flush_cut_off_after_its_rows_were_sent_is_not_sent_twice(
    connection: psycopg.Connection, writer: EventWriter, migrated_url: str
) -> None:
    connection.execute(_ADD_GATE.encode())
    with psycopg.connect(migrated_url) as gate:
        gate.execute("SELECT pg_advisory_xact_lock(42)")
        cut_off = submit(writer, encoded())
        wait_until(lambda: count_waiting(connection) == 1)
        terminate_pool_backends(connection)
        with pytest.raises(StorageUnavailableError):
            cut_off.result(20)
        assert count_waiting(connection) == 0
        gate.rollback()
    assert count_rows(connection) == 0
    assert submit(writer, encoded()).result(20) == 1


def test_while_the_database_is_away_batches_fail_and_once_it_is_back_they_are_stored(
    connection: psycopg.Connection, migrated_url: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database.POOL_TIMEOUT_S", 0.5)
    socket_folder = data_folder / f"socket-{uuid4().hex[:8]}"
    pool = open_pool(make_conninfo(migrated_url, host=str(socket_folder)), size=4, name="away")
    writer = EventWriter(pool)
    try:
        with pytest.raises(StorageUnavailableError):
            submit(writer, encoded()).result(20)
        socket_folder.symlink_to(str(conninfo_to_dict(migrated_url)["host"]))
        assert submit(writer, encoded()).result(20) == 1
    finally:
        writer.close(timeout_s=10)
        pool.close()
    assert count_rows(connection) == 1


def test_a_batch_waits_for_a_connection_no_longer_than_the_pool_says(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database.POOL_TIMEOUT_S", 1.0)
    pool = open_pool(f"postgresql:///none?host={data_folder}", size=4, name="away")
    writer = EventWriter(pool)
    began = time.monotonic()
    try:
        with pytest.raises(StorageUnavailableError):
            submit(writer, encoded()).result(20)
        assert time.monotonic() - began < 1.8
    finally:
        writer.close(timeout_s=10)
        pool.close()
