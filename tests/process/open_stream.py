"""A gRPC stream that a test feeds batch by batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict

from seestack.ingest.v1.ingest_pb2 import StreamHttpRequestsRequest, StreamHttpRequestsResponse
from seestack.ingest.v1.ingest_pb2_grpc import IngestServiceStub
from tests.patience import PATIENCE_S


class OpenStream:
    """A call of the streaming method that is under way."""

    def __init__(self, channel: grpc.Channel, api_key: str) -> None:
        self._batches: SimpleQueue[StreamHttpRequestsRequest | None] = SimpleQueue()
        self._call = IngestServiceStub(channel).StreamHttpRequests(
            iter(self._batches.get, None), metadata=(("x-seestack-key", api_key),), timeout=PATIENCE_S
        )

    def send(self, batch: dict[str, Any]) -> None:
        """Send a batch without waiting for its answer."""
        self._batches.put(ParseDict(batch, StreamHttpRequestsRequest()))

    def receive(self) -> StreamHttpRequestsResponse:
        """Wait for the next answer. Raises grpc.RpcError when the call has ended badly."""
        return next(self._call)

    def finish(self) -> None:
        """Say that no more batches come."""
        self._batches.put(None)

    def cancel(self) -> None:
        """Give the call up."""
        self._call.cancel()

    @property
    def status(self) -> grpc.StatusCode:
        """How the call ended; waits for it."""
        return self._call.code()


@contextmanager
def open_stream(channel: grpc.Channel, api_key: str) -> Iterator[OpenStream]:
    """Open a stream and let go of it at the end."""
    stream = OpenStream(channel, api_key)
    try:
        yield stream
    finally:
        stream.finish()
        stream.cancel()
