"""From the spool into Postgres: each batch once, whatever interrupts it."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from storage.database_identity import read_identity
from storage.errors import SpoolOwnerError, StorageUnavailableError
from storage.spool.drain import Drainer
from storage.spool.spool import Spool
from storage.writing.claims import make_claim
from storage.writing.destination import Database
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch
from tests.patience import PATIENCE_S
from tests.storage.database_door import DatabaseDoor
from tests.storage.event_loop import EventLoop
from tests.storage.rows import PROJECT_NUMBER, count_rows, encoded, make_columns, refused_batch, rows_by_id
from tests.storage.submitting import open_writer, submit
from tests.storage.waiting import closed_gate, count_waiting, terminate_backends, wait_until

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

PROJECT = uuid4()


class Drain:
    """A Drainer, used from outside its event loop."""

    def __init__(self, loop: EventLoop, spool: Spool, url: str) -> None:
        self.loop = loop
        self.drainer = loop.call(lambda: Drainer(spool, Database(url), name="tests"))

    def drain(self) -> bool:
        return self.loop.run(self.drainer.drain())

    def close(self) -> None:
        self.loop.call(self.drainer.close)


@pytest.fixture
def drain(loop: EventLoop, spool: Spool, migrated_url: str) -> Iterator[Drain]:
    drain = Drain(loop, spool, migrated_url)
    yield drain
    drain.close()


def keyed(key: str, body: bytes = b"body") -> EncodedBatch:
    return HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(), make_claim(PROJECT, key, body))


def test_what_is_spooled_is_stored_and_forgotten(connection: psycopg.Connection, spool: Spool, drain: Drain) -> None:
    spool.append([encoded(2), keyed("a"), encoded(3)])
    assert drain.drain()
    assert count_rows(connection) == 6
    assert spool.status().batches == 0
    assert not drain.drain()


def test_a_batch_that_postgres_refuses_is_put_aside_alone(
    connection: psycopg.Connection, spool: Spool, drain: Drain
) -> None:
    spool.append([encoded(2), refused_batch(), encoded(3)])
    assert drain.drain()
    assert count_rows(connection) == 5
    assert (spool.status().batches, spool.status().refused) == (0, 1)


def test_what_cannot_be_stored_yet_stays(
    loop: EventLoop, connection: psycopg.Connection, spool: Spool, door: DatabaseDoor
) -> None:
    drain = Drain(loop, spool, door.url)
    spool.append([encoded(2)])
    door.shut()
    with pytest.raises(StorageUnavailableError):
        drain.drain()
    assert spool.status().batches == 1
    door.open()
    assert drain.drain()
    assert count_rows(connection) == 2
    drain.close()


@pytest.mark.parametrize("is_stored", [True, False])
def test_batches_in_doubt_are_stored_once(
    connection: psycopg.Connection, spool: Spool, drain: Drain, *, is_stored: bool
) -> None:
    """They are in the spool with the backend that may have stored them, as a killed server leaves them."""
    batches = [encoded(2), encoded(3)]
    if is_stored:
        spool.append(batches)
        assert drain.drain()
    spool.append(batches, transaction_id=2**22)
    assert drain.drain()
    assert count_rows(connection) == 5
    assert spool.status().batches == 0


def test_a_backend_that_may_still_store_them_is_ended_first(
    loop: EventLoop, connection: psycopg.Connection, spool: Spool, drain: Drain, migrated_url: str
) -> None:
    batch = encoded(2)
    spool.append([batch])
    with closed_gate(connection, migrated_url) as open_gate:
        draining = loop.start(drain.drainer.drain())
        wait_until(lambda: count_waiting(connection, "advisory") == 1)
        successor = Drain(loop, spool, migrated_url)
        second = loop.start(successor.drainer.drain())
        wait_until(draining.done)
        wait_until(lambda: count_waiting(connection, "advisory") == 1)
        open_gate()
        assert second.result(PATIENCE_S)
    successor.close()
    assert count_rows(connection) == 2
    assert spool.status().batches == 0


def test_batches_sent_again_in_the_meantime_are_stored_once(
    loop: EventLoop, connection: psycopg.Connection, spool: Spool, drain: Drain, migrated_url: str
) -> None:
    spool.append([keyed("repeated"), keyed("new"), keyed("reused", b"spooled"), encoded()])
    with open_writer(loop, migrated_url) as writer:
        assert submit(writer, keyed("repeated")).result(PATIENCE_S) == 1
        assert submit(writer, keyed("reused", b"stored")).result(PATIENCE_S) == 1
    assert drain.drain()
    assert count_rows(connection) == 4
    assert (spool.status().batches, spool.status().refused) == (0, 1)


def test_a_spool_of_another_database_is_left_alone(connection: psycopg.Connection, spool: Spool, drain: Drain) -> None:
    spool.append([encoded(2)])
    assert spool.adopt(uuid4(), "elsewhere:5432/a")
    with pytest.raises(SpoolOwnerError, match="belongs to another database"):
        drain.drain()
    assert count_rows(connection) == 0
    assert spool.status().batches == 1


def test_a_spool_that_never_knew_its_database_is_taken_to_be_for_this_one(
    connection: psycopg.Connection, spool: Spool, drain: Drain
) -> None:
    spool.append([encoded(2)])
    assert drain.drain()
    owner = spool.owner()
    assert owner is not None
    assert owner.database_id == read_identity(connection)


def test_a_connection_lost_in_the_middle_doubles_nothing(
    loop: EventLoop, connection: psycopg.Connection, spool: Spool, drain: Drain, migrated_url: str
) -> None:
    spool.append([encoded(), encoded(2)])
    with closed_gate(connection, migrated_url) as open_gate:
        draining = loop.start(drain.drainer.drain())
        wait_until(lambda: count_waiting(connection, "advisory") == 1)
        terminate_backends(connection)
        with pytest.raises(StorageUnavailableError):
            draining.result(PATIENCE_S)
        open_gate()
    assert drain.drain()
    assert count_rows(connection) == len({row["id"] for row in rows_by_id(connection)}) == 3
