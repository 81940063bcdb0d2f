"""What Postgres tells of a transaction whose connection is gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from storage.database import connect, connect_async
from storage.embedded.server import EmbeddedServer
from storage.migrations import migrate
from storage.partitions import ensure_partitions
from storage.writing.commit_lookup import UncertainBatch, find_stored
from storage.writing.row_encoding import EncodedBatch, copy_data
from tests.storage.event_loop import EventLoop
from tests.storage.processes import kill_server
from tests.storage.rows import count_rows, encoded, insert_row

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

LookUp = Callable[..., list[int]]
NAME = "seestack-ingest other"

_STATUS = "SELECT pg_xact_status(%s::text::xid8)"


@pytest.fixture
def look_up(loop: EventLoop, migrated_url: str) -> LookUp:
    """Looks batches and transactions up in the migrated database."""

    def look_up(*batches: tuple[EncodedBatch, int]) -> list[int]:
        return look_up_in(loop, migrated_url, *batches)

    return look_up


def look_up_in(loop: EventLoop, url: str, *batches: tuple[EncodedBatch, int]) -> list[int]:
    async def look_up() -> list[int]:
        async with await connect_async(url, name="tests") as connection:
            return await find_stored(connection, [UncertainBatch(*batch) for batch in batches])

    return loop.run(look_up())


@contextmanager
def copying(url: str, batch: EncodedBatch, name: str = NAME) -> Iterator[tuple[psycopg.Connection, int]]:
    """Yield a connection whose transaction has stored a batch and is not committed, and the transaction's id."""
    with psycopg.connect(url, application_name=name) as connection:
        (transaction_id,) = connection.execute("SELECT pg_current_xact_id()::text").fetchone() or ()
        with connection.cursor().copy(batch.form.copy_statement.encode()) as copy:
            copy.write(copy_data([batch.data]))
        yield connection, int(transaction_id)
        connection.close()


def test_what_is_committed_is_found_and_what_is_not_is_not(migrated_url: str, look_up: LookUp) -> None:
    committed, aborted = encoded(2), encoded(3)
    with copying(migrated_url, committed) as (connection, first):
        connection.commit()
    with copying(migrated_url, aborted) as (connection, second):
        connection.rollback()
    assert look_up((aborted, second), (committed, first)) == [1]


def test_a_transaction_in_progress_is_ended(connection: psycopg.Connection, migrated_url: str, look_up: LookUp) -> None:
    batch = encoded(2)
    with copying(migrated_url, batch) as (copier, transaction_id):
        assert look_up((batch, transaction_id)) == []
        with pytest.raises(psycopg.OperationalError):
            copier.execute("COMMIT")
    assert count_rows(connection) == 0


def test_a_transaction_of_others_is_not_ended_and_no_answer_is_given_before_it_is_over(
    migrated_url: str, look_up: LookUp
) -> None:
    batch = encoded(2)
    with copying(migrated_url, batch, name="pg_dump") as (copier, transaction_id):
        with pytest.raises(psycopg.OperationalError, match="does not end"):
            look_up((batch, transaction_id))
        copier.commit()
    assert look_up((batch, transaction_id)) == [0]


@pytest.mark.parametrize("transaction_id", [0, 3, 2**40])
def test_an_id_that_postgres_does_not_know_leaves_it_to_the_rows(
    migrated_url: str, look_up: LookUp, transaction_id: int
) -> None:
    """It is too old, or of another cluster."""
    stored, lost = encoded(2), encoded(3)
    with copying(migrated_url, stored) as (connection, _):
        connection.commit()
    assert look_up((stored, transaction_id), (lost, transaction_id)) == [0]


def test_an_id_that_another_transaction_got_after_a_crash_is_not_believed(loop: EventLoop, folder: Path) -> None:
    """What a transaction did before a crash may never have reached the disk; its id is free again then."""
    lost, stored = encoded(2), encoded(3)
    with EmbeddedServer(folder) as server, connect(server.url) as connection:
        migrate(connection)
        ensure_partitions(connection, datetime.now(UTC).date())
        with copying(server.url, stored) as (copier, _):
            copier.commit()
        with copying(server.url, lost) as (_, transaction_id):
            kill_server(folder)
    with EmbeddedServer(folder) as server, connect(server.url) as connection:
        batches = (lost, transaction_id), (stored, transaction_id)
        assert look_up_in(loop, server.url, *batches) == [1]
        while not is_given_out(connection, transaction_id):
            insert_row(connection, datetime.now(UTC))
        assert look_up_in(loop, server.url, *batches) == [1]


def is_given_out(connection: psycopg.Connection, transaction_id: int) -> bool:
    try:
        connection.execute(_STATUS, (str(transaction_id),))
    except psycopg.errors.InvalidParameterValue:
        return False  # it is "in the future"
    return True
