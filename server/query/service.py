"""The query service: what happens to a query, on either protocol.

`QueryService` owns the order: authenticate, count the request, parse the parameters, read within the time limit,
report.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from server.access.api_key_header import find_read_key
from server.access.authentication import Authenticator
from server.access.rate_limits import Usage
from server.access.refusal_pacing import RefusalPacer
from server.access.token_buckets import Buckets
from server.contract.query_method import QueryMethod
from server.errors import ForbiddenError, IngestError, RateLimitedError, explain
from server.observability.metrics import WorkerMetrics
from server.observability.query_report import QueryReporter
from server.query.answers import Answer, Arrivals, Item
from server.query.parameters import Arguments, parse_parameters
from server.query.queries import QUERIES, export, to_item
from server.query.request import QueryRequest
from server.query.tails import Tail, Tails
from storage.keys.api_keys import ApiKey, Scope
from storage.reading.arrivals import EARLIEST, LATEST
from storage.reading.reader import Reader

Export = Callable[[Arguments, AsyncIterator[Sequence[Item]]], Awaitable[None]]
Follow = Callable[[AsyncIterator[Arrivals]], Awaitable[None]]


class QueryService:
    """Authenticates, limits and answers queries. One instance serves a process, on its event loop."""

    CONNECTIONS = Reader.CONNECTIONS + 1  # the most to Postgres of a process; one is for the tails
    CLOSE_TIMEOUT_S = 5.0
    TIMEOUT_S = 10.0  # of a statement
    SAMPLE_INTERVAL_S = 0.5
    CHECK_INTERVAL_S = 5.0  # after which the key of a tail is looked at again

    def __init__(self, database_url: str, *, name: str, metrics: WorkerMetrics, buckets: Buckets) -> None:
        """Prepare to serve; to be called on the event loop, before `start`. `buckets` are those of all workers."""
        self._reader = Reader(database_url, name=name, timeout_s=self.TIMEOUT_S)
        self._tail_reader = Reader(database_url, name=f"{name} tail", timeout_s=self.TIMEOUT_S, connections=1)
        self._tails = Tails(self._tail_reader)
        self._authenticator = Authenticator(self._reader.pool, None, metrics.observe_lookup_wait)
        self._reporter = QueryReporter(metrics)
        self._pacer = RefusalPacer()
        self._buckets = buckets
        self._metrics = metrics
        self._sampler = asyncio.create_task(self._sample_gauges())

    async def start(self) -> None:
        """Begin to connect to the database, which need not be up."""
        await self._reader.open()
        await self._tail_reader.open()

    def end_tails(self) -> None:
        """End what would not end by itself."""
        self._tails.close()

    async def close(self) -> None:
        """Release the database."""
        self._sampler.cancel()
        self.end_tails()
        await self._authenticator.close()
        await self._reader.close(self.CLOSE_TIMEOUT_S)
        await self._tail_reader.close(self.CLOSE_TIMEOUT_S)

    async def answer(self, request: QueryRequest) -> Answer | IngestError:
        """Return the answer to a query, or why it is refused, when it is time to say so.

        Being cancelled abandons the query.
        """
        try:
            async with self._reported(request):
                arguments, project = await self._admit(request)
                query = QUERIES[request.method]
                return await self._reader.read(lambda transaction: query(transaction, arguments, project))
        except Exception as error:
            return await self._refuse(error)

    async def export(self, request: QueryRequest, write: Export) -> IngestError | None:
        """Have `write` take the rows of a query as they come; return why it is refused or cut short."""
        try:
            async with self._reported(request):
                arguments, project = await self._admit(request)
                async with self._reader.reading() as transaction:
                    await write(arguments, export(transaction, arguments, project))
        except Exception as error:
            return await self._refuse(error)
        return None

    async def tail(self, request: QueryRequest, write: Follow) -> IngestError | None:
        """Have `write` take rows as they arrive, until it is cancelled; return why it is refused or ended."""
        try:
            async with self._reported(request):
                arguments, project = await self._admit(request)
                rows = replace(arguments.filter(project), start=EARLIEST, end=LATEST)
                async with self._tails.following(rows) as tail:
                    await write(self._arrivals(request, tail, arguments["slow_ms"]))
        except Exception as error:
            return await self._refuse(error)
        return None

    async def _arrivals(self, request: QueryRequest, tail: Tail, slow_ms: int) -> AsyncIterator[Arrivals]:
        checked_at = time.monotonic()
        while True:
            rows, dropped = await tail.read(self.CHECK_INTERVAL_S)
            if time.monotonic() - checked_at >= self.CHECK_INTERVAL_S:
                await self._authenticate(request)
                checked_at = time.monotonic()
            if rows:
                yield Arrivals([to_item(row, slow_ms) for row in rows], dropped)

    async def _authenticate(self, request: QueryRequest) -> ApiKey:
        return await self._authenticator.authenticate(
            find_read_key(request.header), Scope.READ, request.header("origin")
        )

    async def _admit(self, request: QueryRequest) -> tuple[Arguments, int]:
        """Do all steps before reading, in the order of the contract; return the parameters and the project."""
        key = await self._authenticate(request)
        request.record.project_id = key.project_id
        if key.is_limited:
            request.usage = Usage(key, self._buckets)
            request.usage.take_request()
        arguments = parse_parameters(request.method, request.parameters())
        if arguments.project_id not in (None, key.project_id):
            raise ForbiddenError("This key may not read that project")
        return arguments, key.project_number

    @asynccontextmanager
    async def _reported(self, request: QueryRequest) -> AsyncIterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            if request.method is QueryMethod.TAIL:  # nothing else ends it
                self._reporter.report_answered(request.method, request.record)
            else:
                self._reporter.report_abandoned(request.method, request.record)
            raise
        except Exception as error:
            self._reporter.report_refused(request.method, request.record, explain(error))
            raise
        self._reporter.report_answered(request.method, request.record)

    async def _refuse(self, error: Exception) -> IngestError:
        refusal = explain(error)
        if isinstance(refusal, RateLimitedError):
            await self._pacer.wait()
        return refusal

    async def _sample_gauges(self) -> None:
        while True:
            pools = (self._reader.pool, self._tail_reader.pool)
            self._metrics.set_connections(sum(pool.get_stats().get("pool_size", 0) for pool in pools))
            await asyncio.sleep(self.SAMPLE_INTERVAL_S)
