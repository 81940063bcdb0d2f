"""The paths of queries: each is handed to a query process, and its answer is handed on as it is."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final

from flask import Flask, Response, g, request

from http_bridge.http1.greenlets import wait
from http_bridge.http_request import HttpRequest
from server.contract.query_method import QueryMethod
from server.observability.metrics import Protocol
from server.query.relay.client import QueryRelay, Reply
from server.query.relay.frames import HEADERS, Call

ROOT: Final = "/api/v1/http-requests"
PATHS: Final[Mapping[QueryMethod, str]] = {
    QueryMethod.LIST: ROOT,
    QueryMethod.STATS: f"{ROOT}/stats",
    QueryMethod.TIME_SERIES: f"{ROOT}/timeseries",
    QueryMethod.DISTRIBUTION: f"{ROOT}/distribution",
    QueryMethod.TOP_HOSTS: f"{ROOT}/top-hosts",
    QueryMethod.TOP_ENDPOINTS: f"{ROOT}/top-endpoints",
    QueryMethod.TRACE: f"{ROOT}/by-trace",
    QueryMethod.EXPORT: f"{ROOT}/export",
}


def add_query_routes(app: Flask, relay: QueryRelay) -> None:
    """Serve the paths of queries by `relay`."""
    for method, path in PATHS.items():
        app.add_url_rule(path, method, _view_of(method, relay), methods=["GET"])


def _view_of(method: QueryMethod, relay: QueryRelay) -> Callable[[], Response]:
    def query() -> Response:
        asked: HttpRequest = g.request
        headers = {name: value for name in HEADERS if (value := asked.header(name)) is not None}
        parameters = list(request.args.items(multi=True))
        record = asked.record
        call = Call(method, Protocol.HTTP, record.request_id, dict(record.target), headers, parameters)
        reply = wait(relay.ask(call))
        g.reply_headers = reply.headers
        # The first message is waited for here, so that a refusal has its own status.
        messages = messages_of(reply)
        first = next(messages, b"")
        body = chain((first,), messages) if method is QueryMethod.EXPORT else first
        return Response(body, headers=dict(reply.headers))

    return query


def messages_of(reply: Reply) -> Iterator[bytes]:
    """Yield the messages of a reply as they come, and release it in the end. Raises IngestError."""
    try:
        while (message := wait(reply.read())) is not None:
            yield message
    finally:
        reply.close()
