"""Answers a relayed query in the words of its protocol: JSON, or protobuf."""

from collections.abc import AsyncIterator, Mapping, Sequence

from http_bridge.query_files import FILES
from http_bridge.query_json import encode_answer
from http_bridge.rate_limit_headers import rate_limit_headers
from server.contract.query_method import QueryMethod
from server.errors import IngestError
from server.grpc.query_messages import encode_message, encode_part, parameters_of
from server.observability.metrics import Protocol
from server.observability.request_report import RequestRecord
from server.query.answers import Answer, Arrivals, Item
from server.query.parameters import Arguments
from server.query.relay.frames import Call, Connection, Kind, Refusal
from server.query.request import QueryRequest
from server.query.service import QueryService

# Of a message of an export: gRPC clients take 4 MiB unless they say otherwise.
MOST_BYTES = 2**20


class QueryAnswering:
    """Answers calls by one service."""

    def __init__(self, service: QueryService) -> None:
        self._service = service

    async def answer(self, call: Call, connection: Connection) -> None:
        """Send all frames of the answer to a call. Raises ConnectionError."""
        request = _request_of(call)
        if call.method is QueryMethod.EXPORT:
            await self._export(call, request, connection)
            return
        if call.method is QueryMethod.TAIL:
            await self._tail(call, request, connection)
            return
        outcome = await self._service.answer(request)
        await connection.send(Kind.START, _headers_of(call, request, {"Content-Type": "application/json"}))
        if isinstance(outcome, IngestError):
            await connection.send(Kind.END, Refusal.of(outcome))
            return
        await connection.send(Kind.MESSAGE, _encode(call, outcome))
        await connection.send(Kind.END, None)

    async def _export(self, call: Call, request: QueryRequest, connection: Connection) -> None:
        encode = bytes if call.protocol is Protocol.HTTP else encode_part
        has_begun = False

        async def send(data: bytes) -> None:
            for begin in range(0, len(data), MOST_BYTES):
                await connection.send(Kind.MESSAGE, encode(data[begin : begin + MOST_BYTES]))

        async def write(arguments: Arguments, parts: AsyncIterator[Sequence[Item]]) -> None:
            nonlocal has_begun
            name = arguments["format"]
            file = FILES[name]()
            headers = {
                "Content-Type": file.content_type,
                "Content-Disposition": f'attachment; filename="http-requests.{name}"',
            }
            has_begun = True
            await connection.send(Kind.START, _headers_of(call, request, headers))
            await send(file.begin())
            async for part in parts:
                await send(file.add(part))
            await send(file.end())

        refusal = await self._service.export(request, write)
        if not has_begun:
            await connection.send(Kind.START, _headers_of(call, request, {}))
        await connection.send(Kind.END, None if refusal is None else Refusal.of(refusal))

    async def _tail(self, call: Call, request: QueryRequest, connection: Connection) -> None:
        has_begun = False

        async def write(arrivals: AsyncIterator[Arrivals]) -> None:
            nonlocal has_begun
            has_begun = True
            await connection.send(Kind.START, _headers_of(call, request, {"Content-Type": "application/jsonl"}))
            async for arrived in arrivals:
                await connection.send(Kind.MESSAGE, _encode(call, arrived))

        refusal = await self._service.tail(request, write)
        if not has_begun:
            await connection.send(Kind.START, _headers_of(call, request, {}))
        await connection.send(Kind.END, None if refusal is None else Refusal.of(refusal))


def _encode(call: Call, answer: Answer) -> bytes:
    if call.protocol is Protocol.HTTP:
        return encode_answer(answer, call.request_id)
    return encode_message(call.method, answer)


def _request_of(call: Call) -> QueryRequest:
    record = RequestRecord(call.protocol, call.request_id, call.target)
    if call.protocol is Protocol.HTTP:
        return QueryRequest(
            call.method, record, call.headers.get, lambda: call.parameters, call.session, call.is_shared
        )
    return QueryRequest(call.method, record, call.headers.get, lambda: parameters_of(call.method, call.message))


def _headers_of(call: Call, request: QueryRequest, headers: Mapping[str, str]) -> dict[str, str]:
    if call.protocol is not Protocol.HTTP:
        return {}
    limits = rate_limit_headers(request.usage) if request.usage is not None else {}
    return {**headers, "Cache-Control": "no-store", **limits}
