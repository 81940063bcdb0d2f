"""A COPY whose end is not answered: what became of its transaction is looked up, and each batch is stored once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from storage.errors import StorageUnavailableError
from storage.spool.spool import Spool
from storage.writing.claims import make_claim
from storage.writing.copier import Copier
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch
from storage.writing.slow_path import SlowPath
from tests.patience import PATIENCE_S
from tests.storage.cutting_proxy import cutting_proxy
from tests.storage.event_loop import EventLoop
from tests.storage.rows import PROJECT_NUMBER, count_rows, encoded, make_columns
from tests.storage.spool.test_drain import Drain
from tests.storage.submitting import open_writer, submit
from tests.storage.waiting import backends, closed_gate, count_waiting, terminate_backends, wait_until

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

_AWAIT_STANDBY = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'"
_AWAIT_NO_STANDBY = "ALTER SYSTEM RESET synchronous_standby_names"
_NAMES = "SELECT current_setting('synchronous_standby_names')"
_RELOAD = "SELECT pg_reload_conf()"
_WAITS_FOR_STANDBY = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()
"""


def keyed() -> EncodedBatch:
    return HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(2), make_claim(uuid4(), "key", b"body"))


@pytest.fixture(params=[lambda: encoded(2), keyed], ids=["without key", "with key"])
def batch(request: pytest.FixtureRequest) -> EncodedBatch:
    """A batch of two rows."""
    make: Callable[[], EncodedBatch] = request.param
    return make()


@pytest.fixture(params=["with spool", "without spool"])
def optional_spool(request: pytest.FixtureRequest, spool: Spool) -> Spool | None:
    return spool if request.param == "with spool" else None


def assert_stored_once(
    loop: EventLoop, connection: psycopg.Connection, url: str, spool: Spool | None, rows: int = 2
) -> None:
    """Check that what was acknowledged is stored once, after the spool, if there is one, is drained."""
    if spool is not None:
        drain = Drain(loop, spool, url)
        wait_until(lambda: is_emptied(drain, spool))
        drain.close()
    assert count_rows(connection) == rows


def is_emptied(drain: Drain, spool: Spool) -> bool:
    with suppress(StorageUnavailableError):
        drain.drain()
    return not spool.status().batches


def test_a_commit_whose_answer_is_lost_is_found(
    loop: EventLoop,
    connection: psycopg.Connection,
    migrated_url: str,
    data_folder: Path,
    batch: EncodedBatch,
    optional_spool: Spool | None,
) -> None:
    # With a key there is a second COPY, and only its answer tells of the commit.
    answer = 1 if batch.claim is None else 2
    with (
        cutting_proxy(loop, migrated_url, data_folder, answer=answer) as proxy,
        open_writer(loop, proxy.url, spool=optional_spool) as writer,
    ):
        assert submit(writer, batch).result(PATIENCE_S) == 2
        assert proxy.cuts == 1
        if batch.claim is not None:
            assert submit(writer, batch).result(PATIENCE_S) == 2
    assert_stored_once(loop, connection, migrated_url, optional_spool)


def test_a_copy_that_is_cut_off_before_its_commit_is_stored_by_another(
    loop: EventLoop,
    connection: psycopg.Connection,
    migrated_url: str,
    batch: EncodedBatch,
    optional_spool: Spool | None,
) -> None:
    with (
        open_writer(loop, migrated_url, spool=optional_spool) as writer,
        closed_gate(connection, migrated_url) as open_gate,
    ):
        stored = submit(writer, batch)
        wait_until(lambda: count_waiting(connection, "advisory") == 1)
        assert terminate_backends(connection, "held up") == 1
        open_gate()
        assert stored.result(PATIENCE_S) == 2
    assert_stored_once(loop, connection, migrated_url, optional_spool)


def test_a_transaction_in_progress_is_ended_before_another_stores_the_batch(
    loop: EventLoop,
    connection: psycopg.Connection,
    migrated_url: str,
    batch: EncodedBatch,
    optional_spool: Spool | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server does not notice that nobody waits for it any more, and would commit later."""
    monkeypatch.setattr(Copier, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(Copier, "LOCK_TIMEOUT_SHARE", 1_000.0)
    monkeypatch.setattr(SlowPath, "RETRY_FOR_S", 3_600.0)
    with (
        open_writer(loop, migrated_url, spool=optional_spool) as writer,
        closed_gate(connection, migrated_url) as open_gate,
    ):
        stored = submit(writer, batch)
        wait_until(lambda: count_waiting(connection, "advisory") == 1)
        (abandoned,) = backends(connection, "held up")
        if optional_spool is not None:
            assert stored.result(PATIENCE_S) == 2
            drain = Drain(loop, optional_spool, migrated_url)
            draining = loop.start(drain.drainer.drain())
        wait_until(lambda: abandoned not in backends(connection))
        open_gate()
        if optional_spool is not None:
            draining.exception(PATIENCE_S)
            drain.close()
        assert stored.result(PATIENCE_S) == 2
    assert_stored_once(loop, connection, migrated_url, optional_spool)


def test_a_commit_that_the_server_reports_as_an_error_is_found(
    loop: EventLoop,
    connection: psycopg.Connection,
    migrated_url: str,
    batch: EncodedBatch,
    optional_spool: Spool | None,
) -> None:
    """A backend that is shut down while it waits for a standby has committed; its last words have an SQLSTATE."""
    with awaited_standby(connection), open_writer(loop, migrated_url, spool=optional_spool) as writer:
        stored = submit(writer, batch)
        wait_until(lambda: connection.execute(_WAITS_FOR_STANDBY).fetchone() == (1,))
        assert terminate_backends(connection) == 1
        assert stored.result(PATIENCE_S) == 2
    assert_stored_once(loop, connection, migrated_url, optional_spool)


@contextmanager
def awaited_standby(connection: psycopg.Connection) -> Iterator[None]:
    """Have commits wait for a standby, which there is not."""
    connection.execute("SET synchronous_commit = local")
    connection.execute(_AWAIT_STANDBY)
    connection.execute(_RELOAD)
    try:
        wait_until(lambda: connection.execute(_NAMES).fetchone() == ("nobody",))
        yield
    finally:
        connection.execute(_AWAIT_NO_STANDBY)
        connection.execute(_RELOAD)
