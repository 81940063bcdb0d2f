"""What the benchmarks send: different realistic batches in turn, encoded before the clock starts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from seestack.ingest.v1 import ingest_pb2
from server.cli.sample_traffic import make_items, to_message
from server.contract.fields import FIELDS

DIFFERENT_BATCHES = 128
MOST_LATE_SECONDS = 5.0

_Item = msgspec.defstruct("_Item", [(field.json_name, str | int | None, None) for field in FIELDS])
_Body = msgspec.defstruct("_Body", [("projectId", str), ("requests", list[_Item])])  # type: ignore[valid-type]
_decode = msgspec.json.Decoder(_Body).decode


@dataclass(frozen=True)
class Batches:
    """The same different batches in every form they are sent in."""

    http_requests: list[bytes]
    messages: list[bytes]
    rows_each: int


def make_batches(project_id: str, api_key: str, rows_each: int, *, path: str) -> Batches:
    """Return batches of `rows_each` rows, as whole HTTP/1.1 requests to `path` and as gRPC messages."""
    source = random.Random(rows_each)
    batches = [make_items(rows_each, source) for _ in range(DIFFERENT_BATCHES)]
    messages = [
        ingest_pb2.IngestHttpRequestsRequest(project_id=project_id, requests=map(to_message, items)).SerializeToString()
        for items in batches
    ]
    return Batches([_http_request(project_id, api_key, path, items) for items in batches], messages, rows_each)


def make_half_an_hour(project_id: str, api_key: str, rows_each: int, count: int, *, path: str) -> Batches:
    """Return `count` batches, for HTTP only, of rows spread over half an hour, roughly in order."""
    source = random.Random(0)
    begin = datetime.now(UTC) - timedelta(minutes=30)
    requests = []
    for number in range(count):
        items = make_items(rows_each, source)
        for order, item in enumerate(items):
            seconds = 1800 * (number + order / rows_each) / count - source.uniform(0, MOST_LATE_SECONDS)
            item["timestamp"] = (begin + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        requests.append(_http_request(project_id, api_key, path, items))
    return Batches(requests, [], rows_each)


def decode_bodies(batches: Batches) -> None:
    """Decode the JSON bodies by msgspec into objects with attributes: the least that a server must do with them."""
    for request in batches.http_requests:
        _decode(request.partition(b"\r\n\r\n")[2])


def _http_request(project_id: str, api_key: str, path: str, items: Sequence[dict[str, Any]]) -> bytes:
    body = msgspec.json.encode({"projectId": project_id, "requests": items})
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"X-SeeStack-Key: {api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
