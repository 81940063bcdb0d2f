"""A call as it comes to a front worker, of either service."""

from typing import Any, NoReturn

import grpc

from server.contract.identifiers import REQUEST_ID_HEADER, choose_request_id
from server.errors import IngestError
from server.grpc.messages import status_of
from server.observability.metrics import Protocol

# Where gRPC clients look for the google.rpc.Status of an error.
STATUS_DETAILS_KEY = "grpc-status-details-bin"

Context = grpc.aio.ServicerContext[Any, Any]


class IncomingCall:
    """One call: its metadata, its request id, its messages, and its refusal."""

    def __init__(self, context: "Context", protocol: Protocol, rpc: str) -> None:
        self.context = context
        self.protocol = protocol
        self.target = {"rpc": rpc}
        metadata: dict[str, str] = {}
        for name, value in context.invocation_metadata() or ():
            if isinstance(value, str):  # several of a name are one, as in HTTP (RFC 9110, 5.3)
                metadata[name] = f"{metadata[name]},{value}" if name in metadata else value
        self.header = metadata.get
        self.request_id = choose_request_id(metadata.get(REQUEST_ID_HEADER))
        context.set_trailing_metadata(((REQUEST_ID_HEADER, self.request_id),))

    @property
    def is_overdue(self) -> bool:
        """Tell whether the deadline has passed: the client does not wait any more, so no work is begun for it."""
        remaining = self.context.time_remaining()
        return remaining is not None and remaining <= 0

    async def read(self) -> bytes | None:
        """Return the next message, None when there are no more."""
        message = await self.context.read()
        return None if message is grpc.aio.EOF else message

    async def refuse(self, error: IngestError) -> NoReturn:
        """End the call with the status of `error`."""
        status = status_of(error, self.request_id)
        trailing_metadata = (
            (REQUEST_ID_HEADER, self.request_id),
            (STATUS_DETAILS_KEY, status.SerializeToString()),
        )
        await self.context.abort(error.outcome.grpc_status, error.message, trailing_metadata)
