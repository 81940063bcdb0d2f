"""What the benchmarks send: different realistic batches in turn, encoded before the clock starts."""

import random
import uuid
from dataclasses import dataclass

import msgspec

from seestack.ingest.v1 import ingest_pb2
from server.cli.sample_traffic import make_items, to_message
from server.contract.validation import validate_batch
from server.grpc.messages import decode_batch
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch

DIFFERENT_BATCHES = 64


@dataclass(frozen=True)
class Batches:
    """The same different batches in every form they are sent in."""

    http_requests: list[bytes]
    messages: list[bytes]
    rows_each: int


def make_batches(project_id: str, api_key: str, rows_each: int, *, path: str) -> Batches:
    """Return batches of `rows_each` rows, as whole HTTP/1.1 requests to `path` and as gRPC messages."""
    source = random.Random(rows_each)
    http_requests, messages = [], []
    for _ in range(DIFFERENT_BATCHES):
        items = make_items(rows_each, source)
        body = msgspec.json.encode({"projectId": project_id, "requests": items})
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-SeeStack-Key: {api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        http_requests.append(head.encode() + body)
        message = ingest_pb2.IngestHttpRequestsRequest(project_id=project_id, requests=map(to_message, items))
        messages.append(message.SerializeToString())
    return Batches(http_requests, messages, rows_each)


def encode_for_copy(messages: list[bytes], project_id: str) -> list[EncodedBatch]:
    """Return batches as the server hands them to COPY, for the floor."""
    project = uuid.UUID(project_id)
    return [HTTP_REQUESTS.encode(project, validate_batch(decode_batch(message), project)) for message in messages]
