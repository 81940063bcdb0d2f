"""Answers a relayed query in the words of its protocol: JSON, or protobuf."""

from http_bridge.query_json import encode_answer
from http_bridge.rate_limit_headers import rate_limit_headers
from server.errors import IngestError
from server.grpc.query_messages import encode_message, parameters_of
from server.observability.metrics import Protocol
from server.observability.request_report import RequestRecord
from server.query.relay.frames import Call, Connection, Kind, Refusal
from server.query.request import QueryRequest
from server.query.service import QueryService


class QueryAnswering:
    """Answers calls by one service."""

    def __init__(self, service: QueryService) -> None:
        self._service = service

    async def answer(self, call: Call, connection: Connection) -> None:
        """Send all frames of the answer to a call. Raises ConnectionError."""
        request = _request_of(call)
        outcome = await self._service.answer(request)
        await connection.send(Kind.START, _headers_of(call, request))
        if isinstance(outcome, IngestError):
            await connection.send(Kind.END, Refusal.of(outcome))
            return
        if call.protocol is Protocol.HTTP:
            await connection.send(Kind.MESSAGE, encode_answer(outcome, call.request_id))
        else:
            await connection.send(Kind.MESSAGE, encode_message(call.method, outcome))
        await connection.send(Kind.END, None)


def _request_of(call: Call) -> QueryRequest:
    record = RequestRecord(call.protocol, call.request_id, call.target)
    if call.protocol is Protocol.HTTP:
        return QueryRequest(call.method, record, call.headers.get, lambda: call.parameters)
    return QueryRequest(call.method, record, call.headers.get, lambda: parameters_of(call.method, call.message))


def _headers_of(call: Call, request: QueryRequest) -> dict[str, str]:
    if call.protocol is not Protocol.HTTP:
        return {}
    limits = rate_limit_headers(request.usage) if request.usage is not None else {}
    return {"Content-Type": "application/json", "Cache-Control": "no-store", **limits}
