"""Clients that leave while their answer is under way: nobody has failed."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
import uvloop

from server.access.token_buckets import Buckets, create_buckets_file
from server.contract.query_method import QueryMethod
from server.observability.metrics import ABANDONED, Protocol, WorkerMetrics, create_cells, map_cells
from server.observability.request_report import RequestRecord
from server.query.answers import Item
from server.query.parameters import Arguments
from server.query.relay.channel import accept
from server.query.relay.frames import Kind
from server.query.request import QueryRequest
from server.query.service import QueryService
from storage.database import connect
from storage.keys.api_keys import Scope, create_key
from storage.keys.projects import create_project
from storage.reading.totals import REFERENCE


class Metrics(WorkerMetrics):
    """Remembers how queries ended."""

    def __init__(self) -> None:
        super().__init__(map_cells(create_cells()))
        self.outcomes: list[tuple[QueryMethod, str]] = []

    def count_query(self, method: QueryMethod, outcome: str, duration_s: float) -> None:
        self.outcomes.append((method, outcome))


async def leave(arguments: Arguments, parts: AsyncIterator[Sequence[Item]]) -> None:
    raise ConnectionResetError


@pytest.mark.one_postgres("the service is made for one Postgres here")
def test_a_query_whose_client_has_left_is_abandoned(database_url: str) -> None:
    with connect(database_url) as connection:
        raw_key = create_key(connection, create_project(connection, "shop").id, "read", scope=Scope.READ)[1]
    metrics = Metrics()

    record = RequestRecord(Protocol.HTTP, "id", {})
    request = QueryRequest(QueryMethod.EXPORT, record, {"x-seestack-key": raw_key}.get, lambda: [("format", "jsonl")])

    async def act() -> None:
        service = QueryService(
            database_url,
            is_distributed=False,
            name="query",
            metrics=metrics,
            buckets=Buckets(create_buckets_file()),
            adding=REFERENCE,
            ask_fd=None,
        )
        await service.start()
        with pytest.raises(ConnectionResetError):
            await service.export(request, leave)
        await service.close()

    uvloop.run(act())
    assert metrics.outcomes == [(QueryMethod.EXPORT, ABANDONED)]


def test_what_is_sent_to_a_client_that_has_left_is_a_connection_error() -> None:
    async def act() -> None:
        taken, other = socket.socketpair()
        connection = await accept(taken)
        other.close()
        await connection.closed()
        connection.close()
        await asyncio.sleep(0)  # until the transport has closed
        with pytest.raises(ConnectionError):
            await connection.send(Kind.END, None)

    uvloop.run(act())
