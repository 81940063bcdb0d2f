"""The gRPC side of queries in a front worker: messages go to a query process, its answers come back as they are."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc

from server.contract.query_method import QueryMethod
from server.errors import IngestError, ServiceUnavailableError
from server.grpc.call import Context, IncomingCall
from server.grpc.query_messages import QUERY_SERVICE
from server.observability.metrics import Protocol
from server.query.relay.client import QueryRelay
from server.query.relay.frames import HEADERS, Call

QUERY_SERVICE_NAME: Final[str] = QUERY_SERVICE.full_name


class GrpcQueryService:
    """Handlers of `seestack.query.v1.QueryService`."""

    def __init__(self, relay: QueryRelay, max_calls: int) -> None:
        """Beyond `max_calls` under way, further ones are told to try again later."""
        self._relay = relay
        self._max_calls = max_calls
        self._calls = 0

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server needs to route calls here."""
        # A unary answer is a stream of one message, which is the same on the wire.
        handlers: dict[str, Any] = {
            method: grpc.unary_stream_rpc_method_handler(self._serve(method)) for method in QueryMethod
        }
        return grpc.method_handlers_generic_handler(QUERY_SERVICE_NAME, handlers)

    def _serve(self, method: QueryMethod) -> "Callable[[bytes, Context], AsyncIterator[bytes]]":
        """Return a handler for grpc.aio."""

        async def serve(message: bytes, context: "Context") -> "AsyncIterator[bytes]":
            call = IncomingCall(context, Protocol.GRPC, method)
            if self._calls >= self._max_calls:
                await call.refuse(ServiceUnavailableError())
            self._calls += 1
            try:
                async for answer in self._ask(call, method, message):
                    yield answer
            except IngestError as error:
                await call.refuse(error)
            finally:
                self._calls -= 1

        return serve

    async def _ask(self, call: IncomingCall, method: QueryMethod, message: bytes) -> "AsyncIterator[bytes]":
        headers = {name: value for name in HEADERS if (value := call.header(name)) is not None}
        relayed = Call(method, call.protocol, call.request_id, call.target, headers, message=message)
        reply = await self._relay.ask(relayed)
        if method is QueryMethod.TAIL:
            # By this a client knows that rows are followed, before there is any.
            await call.context.send_initial_metadata(())
        try:
            while (answer := await reply.read()) is not None:
                yield answer
        finally:
            reply.close()
