"""What a tail is given of rows that are moved from the table of earlier versions."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from storage.reading.arrivals import EARLIEST, LATEST, arrived_since, look
from storage.reading.filters import Filter
from storage.reading.reader import Reader
from storage.reading.transaction import Transaction
from tests.storage.event_loop import EventLoop

PROJECT = 1
INSERT = """
INSERT INTO http_request_rows (id, project, "timestamp", status_code, is_inbound, method, host, path, other_trace,
                               duration_ms, request_size, response_size)
VALUES (%s, 1, now(), 200, true, 'GET', 'h', %s, 't', 1, 1, 1)
"""


def id_of(moment: datetime) -> UUID:
    """Return an id as a server makes it at that moment."""
    return UUID(f"{int(moment.timestamp() * 1000):012x}7abc8def0123456789ab")


@pytest.mark.one_postgres("a database is distributed only after rows of earlier versions are moved")
def test_rows_that_are_moved_are_not_new(connection: psycopg.Connection, migrated_url: str, loop: EventLoop) -> None:
    connection.execute("CREATE TABLE http_requests_before ()")

    async def follow() -> list[str]:
        reader = Reader(migrated_url, name="test", timeout_s=60)
        await reader.open()
        try:
            before = await reader.read(look, PROJECT)
            connection.execute(INSERT, (id_of(datetime.now(UTC) - timedelta(days=30)), "/moved"))
            connection.execute(INSERT, (id_of(datetime.now(UTC) + timedelta(seconds=1)), "/new"))
            everything = Filter(PROJECT, EARLIEST, LATEST)

            async def read(transaction: Transaction) -> list[str]:
                [arrival] = await arrived_since(transaction, before, [(everything, 10)])
                return [row.path for row in arrival.rows]

            return await reader.read(read, PROJECT)
        finally:
            await reader.close(5)

    assert loop.run(follow()) == ["/new"]
