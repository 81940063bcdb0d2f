"""How pages ask: as any client does, by the relay, as whoever is logged in; several queries at once."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import msgspec
from flask import g, request

from http_bridge.http1.greenlets import wait
from http_bridge.pages.sessions import current_session
from server.contract.query_method import QueryMethod
from server.observability.metrics import Protocol
from server.observability.request_report import RequestRecord
from server.query import answers
from server.query.relay.client import QueryRelay, Reply
from server.query.relay.frames import Call

# Pages that refresh themselves send it (refresh.js); what a person asks for is never an answer that others got before.
REFRESH_HEADER: Final = "X-SeeStack-Refresh"

Answer = TypeVar("Answer", bound=answers.Answer)


class _Envelope(msgspec.Struct, Generic[Answer]):
    data: Answer


class Kind(Generic[Answer]):
    """A query, and what it answers."""

    def __init__(self, method: QueryMethod, answer: type[Answer]) -> None:
        self.method = method
        self._decoder = msgspec.json.Decoder(_Envelope[answer])  # type: ignore[valid-type] # known at run time

    def decode(self, message: bytes) -> Answer:
        """Return the answer that a message is."""
        answer: Answer = self._decoder.decode(message).data
        return answer


LIST: Final = Kind(QueryMethod.LIST, answers.ItemPage)
STATS: Final = Kind(QueryMethod.STATS, answers.Stats)
TIME_SERIES: Final = Kind(QueryMethod.TIME_SERIES, answers.TimeSeries)
TOP_HOSTS: Final = Kind(QueryMethod.TOP_HOSTS, answers.TopHosts)
TOP_ENDPOINTS: Final = Kind(QueryMethod.TOP_ENDPOINTS, answers.TopEndpoints)
DISTRIBUTION: Final = Kind(QueryMethod.DISTRIBUTION, answers.Distribution)
TAIL: Final = Kind(QueryMethod.TAIL, answers.Arrivals)
TRACE: Final = Kind(QueryMethod.TRACE, answers.Trace)


class Pending(Generic[Answer]):
    """A query that is under way."""

    def __init__(self, task: "asyncio.Task[Answer]") -> None:
        self.task = task

    def get(self) -> Answer:
        """Return its answer, once it is there. Raises IngestError."""
        return wait(self.task)


class Asking:
    """The queries of a page, which run side by side. Those that nobody waits for any more end with the context."""

    def __init__(self, relay: QueryRelay) -> None:
        self._relay = relay
        self._tasks: list[asyncio.Task[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        left = [task for task in self._tasks if not task.done()]
        for task in left:
            task.cancel()
        # Errors of those that nobody asked for an answer are looked at here, or asyncio would report them.
        wait(asyncio.gather(*self._tasks, return_exceptions=True))

    def ask(self, kind: "Kind[Answer]", parameters: Mapping[str, object] = {}) -> "Pending[Answer]":
        """Send a query; parameters that are None are left out."""
        call = call_of(kind.method, parameters)
        task = asyncio.get_running_loop().create_task(_answer(self._relay, kind, call))
        self._tasks.append(task)
        return Pending(task)


def call_of(method: QueryMethod, parameters: Mapping[str, object]) -> Call:
    """Return the call of a query by whoever is logged in. Raises LoginNeededError."""
    record: RequestRecord = g.request.record
    given = [(name, str(value)) for name, value in parameters.items() if value is not None]
    identity = current_session().identity
    is_shared = REFRESH_HEADER in request.headers
    return Call(
        method, Protocol.HTTP, record.request_id, dict(record.target), {}, given, session=identity, is_shared=is_shared
    )


async def read_whole(reply: Reply) -> bytes:
    """Return the one message of a reply. Raises IngestError."""
    try:
        message = await reply.read()
        return message or b""
    finally:
        reply.close()


async def _answer(relay: QueryRelay, kind: "Kind[Answer]", call: Call) -> Answer:
    return kind.decode(await read_whole(await relay.ask(call)))
