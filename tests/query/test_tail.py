"""Following rows as they arrive."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import psycopg
import pytest

from seestack.query.v1 import query_pb2, query_pb2_grpc
from server.contract.query_method import QueryMethod
from server.query import tails
from storage.database import connect
from storage.keys.api_keys import Scope
from storage.keys.projects import find_project
from storage.reading.arrivals import EARLIEST, LATEST, Arrival
from storage.reading.filters import Filter
from storage.reading.rows import Row
from tests.direct_rows import connect_to_rows
from tests.grpc_client import Refusal, refusal_of
from tests.patience import PATIENCE_S
from tests.query.asking import Asking
from tests.running_server import create_key, start_server

# Rows of any time arrive.
LONG_AGO = datetime(1999, 12, 31, tzinfo=UTC)
INSERT = """
INSERT INTO http_request_rows (id, project, timestamp, duration_ms, request_size, response_size,
                               is_inbound, status_code, method, host, path, other_trace)
SELECT overlay(gen_random_uuid()::text PLACING '01930000' FROM 1)::uuid, %(project)s, %(timestamp)s, number,
       0, 0, true, %(status)s, 'GET', 'h', %(path)s, 't'
  FROM generate_series(1, %(count)s) AS number
"""

INSERT_WITH_ID = """
INSERT INTO http_request_rows (id, project, timestamp, duration_ms, request_size, response_size,
                               is_inbound, status_code, method, host, path, other_trace)
VALUES ('ffffffff-ffff-4fff-bfff-ffffffffffff', %(project)s, %(timestamp)s, 1, 0, 0,
        true, 200, 'GET', 'h', '/by-hand', 't')
"""


class Followed:
    """A tail under way."""

    def __init__(self, asking: Asking, key: str | None = None, **parameters: Any) -> None:
        request = query_pb2.TailHttpRequestsRequest(**parameters)
        stub = query_pb2_grpc.QueryServiceStub(asking.channel)
        metadata = (("x-seestack-key", key or asking.key or ""),)
        self.call: Any = stub.TailHttpRequests(request, metadata=metadata, timeout=PATIENCE_S)
        self.call.initial_metadata()
        self.dropped = 0

    def read_until(self, path: str) -> list[str]:
        """Return the paths that come up to one."""
        paths: list[str] = []
        while path not in paths:
            response = next(self.call)
            self.dropped += response.dropped
            paths += [item.path for item in response.items]
        return paths

    def refusal(self) -> Refusal:
        """Return with what it ends."""
        with pytest.raises(grpc.RpcError) as raised:
            next(self.call)
        return refusal_of(raised.value)


@contextmanager
def follow(asking: Asking, **parameters: Any) -> Iterator[Followed]:
    followed = Followed(asking, **parameters)
    try:
        yield followed
    finally:
        followed.call.cancel()


class Inserting:
    """A connection that stores rows of a project."""

    def __init__(self, connection: psycopg.Connection, project: int) -> None:
        self.connection = connection
        self._project = project

    def insert(self, path: str, **changes: Any) -> None:
        values = {"project": self._project, "timestamp": LONG_AGO, "status": 200, "path": path, "count": 1, **changes}
        self.connection.execute(INSERT, values)


@contextmanager
def inserting(asking: Asking, project_id: str | None = None) -> Iterator[Inserting]:
    with connect_to_rows(asking.server.database_url, project_id or asking.server.project_id) as (connection, number):
        yield Inserting(connection, number)


def test_each_row_comes_once_however_long_transactions_are_open(asking: Asking) -> None:
    another, _ = create_key(asking.server.database_url)
    with ExitStack() as stack:
        direct, early, late, never = (stack.enter_context(inserting(asking)) for _ in range(4))
        of_another = stack.enter_context(inserting(asking, another))
        early.connection.execute("BEGIN")
        early.insert("/tail/early")
        never.connection.execute("BEGIN")
        never.insert("/tail/never")
        direct.insert("/tail/before")
        tail = stack.enter_context(follow(asking, path="/TAIL/"))
        failed = stack.enter_context(follow(asking, path="/tail/", status_group="5xx"))
        late.connection.execute("BEGIN")
        late.insert("/tail/late")
        paths = []
        for number in range(3):
            direct.insert(f"/tail/{number}", status=200 + 300 * (number == 2))
            direct.insert(f"/other/{number}")
            of_another.insert("/tail/of-another")
            paths += tail.read_until(f"/tail/{number}")
        early.connection.execute("COMMIT")
        paths += tail.read_until("/tail/early")
        direct.insert("/tail/between")
        late.connection.execute("COMMIT")
        paths += tail.read_until("/tail/late")
        direct.insert("/tail/last", status=503)
        paths += tail.read_until("/tail/last")
        never.connection.execute("ROLLBACK")
        assert sorted(paths) == sorted(f"/tail/{name}" for name in (0, 1, 2, "early", "between", "late", "last"))
        assert paths[:4] == [f"/tail/{name}" for name in (0, 1, 2, "early")]
        assert failed.read_until("/tail/last") == ["/tail/2", "/tail/last"]
        assert tail.dropped == failed.dropped == 0


def test_more_rows_at_once_than_wait_for_a_reader_are_counted(asking: Asking) -> None:
    found = tails.MOST_WAITING + 1_234
    with follow(asking, path="/burst") as tail, inserting(asking) as direct:
        direct.insert("/burst", count=found)
        first = next(tail.call)
        assert first.dropped == 1_234
        rows = len(first.items)
        while rows < tails.MOST_WAITING:
            response = next(tail.call)
            assert response.dropped == 0
            rows += len(response.items)
        assert rows == tails.MOST_WAITING


def test_a_reader_may_have_fewer_rows_wait_for_it(asking: Asking) -> None:
    with (
        follow(asking, path="/few", limit=3) as few,
        follow(asking, path="/few") as all_of_them,
        follow(asking, path="/few") as the_same,
        inserting(asking) as direct,
    ):
        direct.insert("/few", count=10)
        message = next(few.call)
        assert (len(message.items), message.dropped) == (3, 7)
        assert [len(next(tail.call).items) for tail in (all_of_them, the_same)] == [10, 10]


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    async def read_slowly() -> None:
        tail = tails.Tail(Filter(1, EARLIEST, LATEST))
        rows = [row_of(number) for number in range(tails.MOST_WAITING)]
        tail.add(Arrival(rows, len(rows)))
        tail.add(Arrival([row_of(number) for number in range(len(rows), len(rows) + 7)], 10))
        first, dropped = await tail.read(PATIENCE_S)
        assert dropped == 10  # seven that waited, and three that were never read
        assert [row.duration_ms for row in first] == list(range(7, 7 + tails.MOST_AT_ONCE))
        assert (await tail.read(PATIENCE_S))[1] == 0

    asyncio.run(read_slowly())


def row_of(number: int) -> Row:
    return Row(uuid4(), "t", "inbound", "GET", "h", "/", 200, number, 0, 0, None, None, LONG_AGO, LONG_AGO)


def test_a_tail_ends_when_its_key_does(asking: Asking) -> None:
    server = asking.server
    with connect(server.database_url) as connection:
        name = find_project(connection, server.project_id).name
    _, key = create_key(server.database_url, name, timedelta(seconds=2), Scope.READ)
    with follow(asking, key=key) as tail:
        assert tail.refusal().status is grpc.StatusCode.UNAUTHENTICATED


def test_a_tail_does_not_hold_up_a_server_that_stops(create_database: Callable[[], str]) -> None:
    # If it did, the server would not be over before the patience of the test.
    with start_server(create_database(), "--query-workers", "1", "--grace-seconds", "600") as server:
        followers = Asking(server, server.channel(), None)
        with follow(followers, key=followers.create_key()) as tail:
            server.process.send_signal(signal.SIGTERM)
            assert tail.refusal().status is grpc.StatusCode.UNAVAILABLE
            assert server.process.wait(PATIENCE_S) == 0


def test_a_row_of_somebody_else_without_a_time_in_its_id_is_read(asking: Asking) -> None:
    with connect_to_rows(asking.server.database_url, asking.server.project_id) as (connection, number):
        connection.execute(INSERT_WITH_ID, {"project": number, "timestamp": LONG_AGO})
    found = asking.over_http(
        QueryMethod.LIST, **{"from": LONG_AGO.isoformat(), "to": "2000-01-01T00:00:00Z", "path": "/by-hand"}
    )
    assert [item.received_at for item in found.items] == [LONG_AGO]


def test_what_is_wrong_is_told_at_once(asking: Asking) -> None:
    with follow(asking, status=1000) as wrong:
        assert wrong.refusal().violations == {"status": "must be 0 or between 100 and 599"}
    with follow(asking, key=asking.server.api_key) as to_send:
        assert to_send.refusal().status is grpc.StatusCode.PERMISSION_DENIED
    with follow(asking, project_id=str(UUID(int=7))) as of_another:
        assert of_another.refusal().status is grpc.StatusCode.PERMISSION_DENIED
