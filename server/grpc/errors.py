"""A call that ends badly for a reason of gRPC's own; what the service refuses is an IngestError."""

from server.errors import GrpcStatus


class CallError(Exception):
    """A call ends with a status other than OK."""

    def __init__(self, status: GrpcStatus, message: str, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.metadata = metadata
