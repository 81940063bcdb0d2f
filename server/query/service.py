"""The query service: what happens to a query, on either protocol.

`QueryService` owns the order: authenticate, count the request, parse the parameters, read within the time limit,
report.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from server.access.api_key_header import find_read_key
from server.access.authentication import Authenticator
from server.access.project_numbers import ProjectNumbers
from server.access.rate_limits import Usage
from server.access.refusal_pacing import RefusalPacer
from server.access.token_buckets import Buckets
from server.contract.query_method import QueryMethod
from server.errors import ForbiddenError, IngestError, InvalidApiKeyError, RateLimitedError, explain
from server.observability.metrics import WorkerMetrics
from server.observability.query_report import QueryReporter
from server.query.answers import Answer, Arrivals, Item
from server.query.parameters import Arguments, parse_parameters
from server.query.queries import QUERIES, export, to_item
from server.query.request import QueryRequest
from server.query.sharing import SharedAnswers
from server.query.tails import Tail, Tails
from storage.distribution.node_reader import NodeReader
from storage.keys.api_keys import ApiKey, Scope
from storage.reading.arrivals import EARLIEST, LATEST
from storage.reading.reader import Reader
from storage.reading.totals import Adding

Export = Callable[[Arguments, AsyncIterator[Sequence[Item]]], Awaitable[None]]
Follow = Callable[[AsyncIterator[Arrivals]], Awaitable[None]]


class Reading(NamedTuple):
    """A project that may be read, and the key that allows it; None for an administrator."""

    project_id: UUID
    project_number: int
    key: ApiKey | None


class QueryService:
    """Authenticates, limits and answers queries. One instance serves a process, on its event loop."""

    CONNECTIONS = Reader.CONNECTIONS + 1  # the most to Postgres of a process; one is for the tails
    CLOSE_TIMEOUT_S = 5.0
    TIMEOUT_S = 10.0  # of a statement
    SAMPLE_INTERVAL_S = 0.5
    CHECK_INTERVAL_S = 5.0  # after which the key of a tail is looked at again
    PAGE_INTERVAL_S = 1.0  # after which a page, on which more arrives than it shows, is given the next requests

    def __init__(
        self,
        database_url: str,
        *,
        is_distributed: bool,
        name: str,
        metrics: WorkerMetrics,
        buckets: Buckets,
        adding: Adding,
        ask_fd: int | None,
    ) -> None:
        """Prepare to serve; to be called on the event loop, before `start`. `buckets` are those of all workers.

        By `ask_fd` a query asks for a pass of the rollups.
        """
        make_reader = NodeReader if is_distributed else partial(Reader, ask_fd=ask_fd)
        self._reader = make_reader(database_url, name=name, timeout_s=self.TIMEOUT_S, adding=adding)
        self._tail_reader = make_reader(database_url, name=f"{name} tail", timeout_s=self.TIMEOUT_S, connections=1)
        self._shared = SharedAnswers()
        self._tails: dict[int, Tails] = {}  # by the part of the rows that they follow
        self.authenticator = Authenticator(self._reader.pool, None, metrics.observe_lookup_wait)
        self._reporter = QueryReporter(metrics)
        self._pacer = RefusalPacer()
        self._buckets = buckets
        self._projects = ProjectNumbers(self._reader.pool)
        self._metrics = metrics
        self._sampler = asyncio.create_task(self._sample_gauges())

    async def start(self) -> None:
        """Begin to connect to the database, which need not be up."""
        await self._reader.open()
        await self._tail_reader.open()

    def end_tails(self) -> None:
        """End what would not end by itself."""
        for tails in self._tails.values():
            tails.close()

    async def close(self) -> None:
        """Release the database."""
        self._sampler.cancel()
        self.end_tails()
        await self.authenticator.close()
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

                def ask() -> Coroutine[Any, Any, Answer]:
                    return self._reader.read(lambda transaction: query(transaction, arguments, project), project)

                if not request.is_shared:
                    return await ask()
                return await self._shared.get((request.method, project, arguments.all()), ask)
        except Exception as error:
            return await self._refuse(error)

    async def export(self, request: QueryRequest, write: Export) -> IngestError | None:
        """Have `write` take the rows of a query as they come; return why it is refused or cut short.

        Raises ConnectionError when `write` does, as the client is gone.
        """
        try:
            async with self._reported(request):
                arguments, project = await self._admit(request)
                async with self._reader.reading(project) as transaction:
                    await write(arguments, export(transaction, arguments, project))
        except ConnectionError:
            raise
        except Exception as error:
            return await self._refuse(error)
        return None

    async def tail(self, request: QueryRequest, write: Follow) -> IngestError | None:
        """Have `write` take rows as they arrive, until it is cancelled; return why it is refused or ended.

        Raises ConnectionError when `write` does, as the client is gone.
        """
        try:
            async with self._reported(request):
                arguments, project = await self._admit(request)
                rows = replace(arguments.filter(project), start=EARLIEST, end=LATEST)
                part = await self._tail_reader.part_of(project)
                tails = self._tails.setdefault(part, Tails(self._tail_reader, project))
                async with tails.following(rows, arguments["limit"]) as tail:
                    await write(self._arrivals(request, tail, arguments["slow_ms"]))
        except ConnectionError:
            raise
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
            if dropped and request.session is not None:
                await asyncio.sleep(self.PAGE_INTERVAL_S)

    async def _authenticate(self, request: QueryRequest) -> Reading:
        """Return what may be read: the project of the key or session. Raises InvalidApiKeyError, among others."""
        session = request.session
        if session is None:
            raw_key, origin = find_read_key(request.header), request.header("origin")
            return _reading_of(await self.authenticator.authenticate(raw_key, Scope.READ, origin))
        if session.key_digest is not None:
            return _reading_of(await self.authenticator.authenticate_session(session.key_digest))
        if session.project_id is None:
            raise InvalidApiKeyError
        return Reading(session.project_id, await self._projects.find(session.project_id), None)

    async def _admit(self, request: QueryRequest) -> tuple[Arguments, int]:
        """Do all steps before reading, in the order of the contract; return the parameters and the project."""
        reading = await self._authenticate(request)
        request.record.project_id = reading.project_id
        if reading.key is not None and reading.key.is_limited:
            request.usage = Usage(reading.key, self._buckets)
            request.usage.take_request()
        arguments = parse_parameters(request.method, request.parameters())
        if arguments.project_id not in (None, reading.project_id):
            raise ForbiddenError("This key may not read that project")
        return arguments, reading.project_number

    @asynccontextmanager
    async def _reported(self, request: QueryRequest) -> AsyncIterator[None]:
        try:
            yield
        except (asyncio.CancelledError, ConnectionError):
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
            self._metrics.set_connections(self._reader.open_connections + self._tail_reader.open_connections)
            await asyncio.sleep(self.SAMPLE_INTERVAL_S)


def _reading_of(key: ApiKey) -> Reading:
    return Reading(key.project_id, key.project_number, key)
