"""Where load goes and what it looks like: addresses, protocol, rows a batch, connections."""

from collections.abc import Sequence
from typing import NamedTuple

from bench.connections import Connection, GrpcConnection, HttpConnection
from bench.data import Batches
from seestack.ingest.v1 import ingest_pb2
from server.grpc.handlers import SERVICE_NAME

INGEST_PATH = "/ingest/v1/http-requests"
HTTP, UNARY, STREAM = "HTTP", "gRPC", "gRPC stream"
# Batches under way on each connection of a stream; unary calls and HTTP have one.
STREAM_DEPTH = 4


class Target(NamedTuple):
    """A server's addresses, and the API key that it knows."""

    http: tuple[str, int]
    grpc: tuple[str, int]
    api_key: str


class Shape(NamedTuple):
    """What a load looks like."""

    protocol: str
    batch_rows: int
    connections: int

    @property
    def depth(self) -> int:
        """How many batches a connection has under way."""
        return STREAM_DEPTH if self.protocol == STREAM else 1

    def __str__(self) -> str:
        return f"{self.protocol}, {self.batch_rows} x {self.connections}"


def grpc_path(protocol: str) -> str:
    """Return the path of the method that takes batches, of unary calls or of a stream."""
    return f"/{SERVICE_NAME}/{'StreamHttpRequests' if protocol == STREAM else 'IngestHttpRequests'}"


def connect(target: Target, shape: Shape, batches: Batches) -> Sequence[Connection]:
    """Open connections of the Python generator that send these batches."""
    if shape.protocol == HTTP:
        expected = b'{"ok": true, "accepted": %d}' % batches.rows_each
        return [HttpConnection(target.http, batches.http_requests, expected) for _ in range(shape.connections)]
    is_stream = shape.protocol == STREAM
    answer = (
        ingest_pb2.StreamHttpRequestsResponse(accepted=batches.rows_each)
        if is_stream
        else ingest_pb2.IngestHttpRequestsResponse(ok=True, accepted=batches.rows_each)
    )
    expected = answer.SerializeToString()
    path = grpc_path(shape.protocol)
    return [
        GrpcConnection(target.grpc, path, target.api_key, batches.messages, expected, stream=is_stream)
        for _ in range(shape.connections)
    ]
