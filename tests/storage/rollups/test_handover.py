"""Rows that were handed over count as those in the table do, once, and only if the table has them."""

import random
from uuid import uuid4

import psycopg
import pytest

from server.compiled.aggregator import choose_summing
from server.settings import Compiled
from storage.database import connect
from storage.rollups import handed_rows
from storage.rollups.groups import Level, Span
from storage.rollups.handed_rows import HandedRows, Handover
from storage.rollups.rolling import Roller
from storage.rollups.state import count_on
from storage.rollups.summing import REFERENCE
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch, copy_data
from tests.storage.rollups.model import LARGEST, insert_random_rows, sums_of_rollups
from tests.storage.rollups.test_rolling import assert_exact, roll_all
from tests.storage.rows import encoded, make_columns

pytestmark = pytest.mark.one_postgres("rollups are kept shard by shard there, see tests/citus")

ALL = (0, 0, 2**62)
STORED_MS, SENT_MS = 42, 7  # other figures than those in the table show what was summed up


@pytest.fixture
def handover() -> Handover:
    return Handover()


@pytest.fixture
def roller(handover: Handover) -> Roller:
    return Roller(REFERENCE, handover=handover)


@pytest.fixture(params=[Compiled.OFF, Compiled.AUTO])
def any_roller(handover: Handover, request: pytest.FixtureRequest) -> Roller:
    return Roller(choose_summing(request.param), handover=handover)


def store(connection: psycopg.Connection, *batches: EncodedBatch) -> int:
    """Store batches in one transaction and return its id."""
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(HTTP_REQUESTS.form.copy_statement.encode()) as copy:
            copy.write(copy_data(batch.data for batch in batches))
        (number,) = cursor.execute("SELECT pg_current_xact_id()::text::bigint").fetchone() or (0,)
    return int(number)


def handed(*batches: EncodedBatch) -> HandedRows:
    return HandedRows(sum(batch.rows for batch in batches), b"".join(batch.data for batch in batches))


def durations(connection: psycopg.Connection) -> int:
    """Return the sum of all durations in the rollups, in ms."""
    return sum(int(sums["duration"]) for sums in sums_of_rollups(connection, Span.MINUTE, Level(0)).values())


def random_batch(source: random.Random) -> EncodedBatch:
    count = source.randrange(1, 30)
    figures = (0, 1, 999, 1_000, 1_001, 2**31 - 1, 2**31, LARGEST)
    columns = make_columns(count)
    columns |= {
        name: [source.choice(figures) for _ in range(count)]
        for name in ("duration_ms", "request_size", "response_size")
    }
    columns |= {
        "direction": [source.choice(("inbound", "outbound")) for _ in range(count)],
        "trace_id": [source.choice((str(uuid4()), uuid4().hex, "trace")) for _ in range(count)],
        "host": [source.choice(("a", "ü.example")) for _ in range(count)],
        "path": [source.choice(("/", "/orders/17", "/a/b")) for _ in range(count)],
        "status_code": [source.choice((200, 404, 599)) for _ in range(count)],
        "user_id": [source.choice((None, "u")) for _ in range(count)],
    }
    return HTTP_REQUESTS.encode(source.randrange(1, 4), columns)


@pytest.mark.parametrize("seed", range(2))
def test_sums_are_exact_whatever_was_handed_over(
    connection: psycopg.Connection, any_roller: Roller, handover: Handover, seed: int
) -> None:
    source = random.Random(seed)
    for _ in range(30):
        batches = [random_batch(source) for _ in range(source.randrange(1, 3))]
        number = store(connection, *batches)
        what = source.choice(("all", "all", "a part", "nothing", "twice"))
        if what != "nothing":
            handover.add(0, number, handed(*batches[: None if what != "a part" else 1]))
        if what == "twice":
            handover.add(0, number, handed(*batches))
        if source.randrange(4) == 0:
            insert_random_rows(connection, source, 3)
        if source.randrange(4) == 0:
            any_roller.roll(connection)
    roll_all(any_roller, connection)
    assert_exact(connection)
    assert any_roller.handed_rows > 0
    assert handover.between(*ALL) == {}


def test_rows_that_were_handed_over_are_not_read(
    connection: psycopg.Connection, any_roller: Roller, handover: Handover
) -> None:
    any_roller.roll(connection)
    number = store(connection, encoded(3, duration_ms=STORED_MS))
    handover.add(0, number, handed(encoded(3, duration_ms=SENT_MS)))
    assert roll_all(any_roller, connection) == 3
    assert durations(connection) == 3 * SENT_MS
    assert any_roller.handed_rows == 3


@pytest.mark.parametrize("count", [2, 4])
def test_rows_are_read_if_the_table_has_another_number_of_them(
    connection: psycopg.Connection, roller: Roller, handover: Handover, count: int
) -> None:
    roller.roll(connection)
    number = store(connection, encoded(3, duration_ms=STORED_MS))
    handover.add(0, number, handed(encoded(count, duration_ms=SENT_MS)))
    assert roll_all(roller, connection) == 3
    assert durations(connection) == 3 * STORED_MS
    assert roller.handed_rows == 0


def test_rows_that_are_in_no_table_count_nothing(
    connection: psycopg.Connection, roller: Roller, handover: Handover
) -> None:
    roller.roll(connection)
    number = store(connection, encoded(3))
    connection.execute("DELETE FROM http_request_rows")
    handover.add(0, number, handed(encoded(3)))
    assert roll_all(roller, connection) == 0
    assert sums_of_rollups(connection, Span.MINUTE, Level(0)) == {}
    assert handover.between(*ALL) == {}


def test_rows_of_another_server_are_read_beside_those_handed_over(
    connection: psycopg.Connection, roller: Roller, handover: Handover
) -> None:
    roller.roll(connection)
    handover.add(0, store(connection, encoded(2, duration_ms=STORED_MS)), handed(encoded(2, duration_ms=SENT_MS)))
    store(connection, encoded(5, duration_ms=STORED_MS))
    assert roll_all(roller, connection) == 7
    assert durations(connection) == 2 * SENT_MS + 5 * STORED_MS


def test_over_a_new_connection_which_may_be_to_another_cluster_rows_are_read(
    connection: psycopg.Connection, migrated_url: str, roller: Roller, handover: Handover
) -> None:
    roller.roll(connection)
    handover.add(0, store(connection, encoded(2, duration_ms=STORED_MS)), handed(encoded(2, duration_ms=SENT_MS)))
    with connect(migrated_url) as other:
        assert roll_all(roller, other) == 2
    assert durations(connection) == 2 * STORED_MS


def test_where_transactions_count_on_after_a_restore_rows_are_found_by_their_id(
    connection: psycopg.Connection, roller: Roller, handover: Handover
) -> None:
    store(connection, encoded(1, duration_ms=STORED_MS))
    count_on(connection)
    roll_all(roller, connection)
    handover.add(0, store(connection, encoded(2, duration_ms=STORED_MS)), handed(encoded(2, duration_ms=SENT_MS)))
    assert roll_all(roller, connection) == 2
    assert durations(connection) == STORED_MS + 2 * SENT_MS


def test_what_another_server_has_summed_up_is_forgotten(
    connection: psycopg.Connection, roller: Roller, handover: Handover
) -> None:
    roller.roll(connection)
    handover.add(0, store(connection, encoded(2)), handed(encoded(2)))
    roll_all(Roller(REFERENCE), connection)
    assert roll_all(roller, connection) == 0
    assert handover.between(*ALL) == {}


def test_shards_are_kept_apart() -> None:
    handover = Handover()
    for shard in (1, 2):
        handover.add(shard, 10 + shard, handed(encoded(shard)))
    handover.forget(1)
    assert handover.between(1, 0, 100) == {}
    assert [rows for rows, _ in handover.between(2, 0, 100).values()] == [2]
    assert handover.between(2, 0, 12) == handover.between(2, 13, 100) == {}


def test_what_is_kept_is_bounded_and_much_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encoded().data)
    monkeypatch.setattr(handed_rows, "MOST_BYTES", 4 * size)
    monkeypatch.setattr(handed_rows, "MUCH_BYTES", 2 * size)
    told: list[int] = []
    handover = Handover(lambda: told.append(1))
    for number in range(6):
        handover.add(0, number, handed(encoded()))
    assert list(handover.between(*ALL)) == [0, 1, 2, 3]
    assert len(told) == 1
    handover.forget(0, below=3)
    for number in range(6, 9):
        handover.add(0, number, handed(encoded()))
    assert list(handover.between(*ALL)) == [3, 6, 7, 8]
    assert len(told) == 2
