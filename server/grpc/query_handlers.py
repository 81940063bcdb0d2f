"""The gRPC side of queries in a front worker: messages go to a query process, its answers come back as they are."""

from collections.abc import Mapping
from typing import Final

from server.contract.query_method import QueryMethod
from server.errors import MalformedRequestError
from server.grpc.call import Handler, IncomingCall
from server.grpc.call_limit import CallLimit
from server.grpc.query_messages import QUERY_SERVICE
from server.observability.metrics import Protocol
from server.query.relay.client import QueryRelay
from server.query.relay.frames import HEADERS, Call

QUERY_SERVICE_NAME: Final[str] = QUERY_SERVICE.full_name


class GrpcQueryService:
    """Handlers of `seestack.query.v1.QueryService`."""

    def __init__(self, relay: QueryRelay, limit: CallLimit) -> None:
        self._relay = relay
        self._limit = limit

    def methods(self) -> Mapping[str, Handler]:
        """Return the handlers by the names of their methods."""
        return {f"{QUERY_SERVICE_NAME}/{method}": self._limit.bound(self._serve(method)) for method in QueryMethod}

    def _serve(self, method: QueryMethod) -> Handler:
        target = {"rpc": str(method)}

        async def serve(call: IncomingCall) -> None:
            message = await call.read()
            if message is None:
                raise MalformedRequestError("The call has no message")
            headers = {name: value for name in HEADERS if (value := call.header(name)) is not None}
            relayed = Call(method, Protocol.GRPC, call.request_id, target, headers, message=message)
            reply = await self._relay.ask(relayed)
            if method is QueryMethod.TAIL:
                # By this a client knows that rows are followed, before there is any.
                call.begin()
            try:
                while (answer := await reply.read()) is not None:
                    await call.write(answer)
            finally:
                reply.close()

        return serve
