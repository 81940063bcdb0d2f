"""Many senders at once, and whether what they were told is true."""

import asyncio
import threading
from types import TracebackType
from typing import Self
from uuid import uuid4

import psycopg

from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.writing.http_requests import HTTP_REQUESTS
from tests.patience import PATIENCE_S
from tests.storage.rows import PROJECT_NUMBER, REFUSED_TEXT, make_columns
from tests.storage.submitting import Writer

SENDERS = 16
ROWS = 5
PATHS = ("/v1/orders", "x" * 2_000, "x" * 20_000)
REFUSED_OF = 40  # one batch in so many is refused


class Load:
    """Sends batches, each under a trace id of its own, between entry and exit."""

    def __init__(self, writer: Writer) -> None:
        self.acknowledged: set[str] = set()
        self.unavailable: set[str] = set()
        self.refused: set[str] = set()
        self._writer = writer
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self._sending = self._writer.loop.start(self._send_at_once())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._sending.result(PATIENCE_S)  # a batch that is never settled would be waited for without end

    def assert_stored(self, connection: psycopg.Connection) -> None:
        """Check that acknowledged batches are stored once and refused ones are not, and none twice or in part."""
        counts = "SELECT trace_id, count(*) FROM http_requests GROUP BY trace_id"
        stored: dict[str, int] = dict(connection.execute(counts).fetchall())
        assert self.acknowledged
        assert set(stored.values()) <= {ROWS}
        assert self.acknowledged <= stored.keys() <= self.acknowledged | self.unavailable

    async def _send_at_once(self) -> None:
        await asyncio.gather(*(self._send(number) for number in range(SENDERS)))

    async def _send(self, number: int) -> None:
        count = 0
        while not self._stopped.is_set():
            count += 1
            trace, path = uuid4().hex, PATHS[(number + count) % len(PATHS)]
            is_refused = (number + count) % REFUSED_OF == 0
            method = REFUSED_TEXT if is_refused else "GET"
            batch = HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(ROWS, trace_id=trace, path=path, method=method))
            try:
                assert await self._writer.events.submit(batch).stored() == ROWS
            except StorageUnavailableError:
                self.unavailable.add(trace)
            except BatchRefusedError:
                self.refused.add(trace)
                assert is_refused
            else:
                self.acknowledged.add(trace)
                assert not is_refused
