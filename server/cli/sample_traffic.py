"""Generated telemetry that looks real, and clients that send it."""

import http.client
import random
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import grpc
import msgspec
from google.protobuf.json_format import ParseDict

from seestack.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from server.access.api_key_header import KEY_HEADER
from server.contract.fields import EXAMPLE

TIMEOUT_S = 15.0

_ROUTES = (
    ("outbound", "POST", "payments.example.com", "/v1/charges"),
    ("outbound", "GET", "search.example.com", "/v2/products"),
    ("outbound", "PUT", "storage.example.com", "/buckets/{}/objects"),
    ("inbound", "GET", "api.example.com", "/api/orders"),
    ("inbound", "GET", "api.example.com", "/api/orders/{}"),
    ("inbound", "POST", "api.example.com", "/api/carts/{}/items"),
    ("inbound", "DELETE", "api.example.com", "/api/sessions/{}"),
)
_STATUS_CODES = (200, 201, 204, 301, 400, 401, 404, 500, 503, 0)
_STATUS_WEIGHTS = (70, 8, 5, 2, 4, 3, 4, 2, 1, 1)


class SendError(Exception):
    """The server did not take a batch; the message says why."""


class Client(Protocol):
    """Sends batches to a server."""

    def send(self, project_id: str, items: list[dict[str, Any]]) -> int:
        """Send one batch and return the number of rows stored. Raises SendError."""


def make_items(count: int, source: random.Random) -> list[dict[str, Any]]:
    """Return `count` generated items, as in a JSON body, with the present time."""
    return [_make_item(source) for _ in range(count)]


def to_message(item: dict[str, Any]) -> ingest_pb2.HttpRequest:
    """Return an item as a protobuf message."""
    return ParseDict(item, ingest_pb2.HttpRequest())


class HttpClient:
    """Sends JSON over one kept-alive HTTP connection to `url`, e.g. http://127.0.0.1:8080."""

    def __init__(self, url: str, raw_key: str, ca_cert: Path | None = None) -> None:
        """`ca_cert` is a PEM file of the CAs to trust; without it, those of the system. Raises SendError."""
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        try:
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=ca_cert)
                self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    host, parts.port, timeout=TIMEOUT_S, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
        except ValueError as error:
            raise SendError(f"{url} is not the URL of a server: {error}") from error
        except OSError as error:
            raise SendError(f"{ca_cert} holds no certificates: {error}") from error
        self._headers = {KEY_HEADER: raw_key, "Content-Type": "application/json"}

    def send(self, project_id: str, items: list[dict[str, Any]]) -> int:
        """See Client."""
        body = msgspec.json.encode({"projectId": project_id, "requests": items})
        try:
            self._connection.request("POST", "/ingest/v1/http-requests", body, self._headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise SendError(f"no answer over HTTP: {error or type(error).__name__}") from error
        if response.status != http.HTTPStatus.ACCEPTED:
            raise SendError(f"HTTP {response.status}: {answer.decode(errors='replace')}")
        accepted: int = msgspec.json.decode(answer)["accepted"]
        return accepted


class GrpcClient:
    """Sends protobuf messages over one gRPC channel to `target`, e.g. 127.0.0.1:50051."""

    def __init__(self, target: str, raw_key: str, ca_cert: Path | None = None) -> None:
        """`ca_cert` is a PEM file of the CAs to trust; without it, the channel is plain text. Raises OSError."""
        if ca_cert is None:
            channel = grpc.insecure_channel(target)
        else:
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca_cert.read_bytes()))
        self._stub = ingest_pb2_grpc.IngestServiceStub(channel)
        self._metadata = ((KEY_HEADER, raw_key),)

    def send(self, project_id: str, items: list[dict[str, Any]]) -> int:
        """See Client."""
        request = ingest_pb2.IngestHttpRequestsRequest(project_id=project_id, requests=map(to_message, items))
        try:
            response = self._stub.IngestHttpRequests(request, timeout=TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise SendError(f"gRPC {error.code().name}: {error.details()}") from error
        except ValueError as error:
            raise SendError(f"the key cannot be sent: {error}") from error
        return response.accepted


def send_at_rate(
    client: Client, project_id: str, *, rows: int, rows_per_second: float, batch_size: int
) -> Iterator[int]:
    """Send `rows` generated rows at an even rate and yield how many were stored, batch by batch. Raises SendError."""
    source = random.Random()  # noqa: S311 - nothing secret
    started = time.monotonic()
    sent = 0
    while sent < rows:
        time.sleep(max(0.0, started + sent / rows_per_second - time.monotonic()))
        items = make_items(min(batch_size, rows - sent), source)
        yield client.send(project_id, items)
        sent += len(items)


def _make_item(source: random.Random) -> dict[str, Any]:
    direction, method, host, path = source.choice(_ROUTES)
    status_code = source.choices(_STATUS_CODES, _STATUS_WEIGHTS)[0]
    made_up = {
        "traceId": f"{source.getrandbits(128):032x}",
        "direction": direction,
        "method": method,
        "host": host,
        "path": path.format(source.randrange(10_000)),
        "statusCode": status_code,
        "durationMs": int(source.lognormvariate(4, 1)),
        "requestSize": 0 if method in ("GET", "DELETE") else source.randrange(100, 10_000),
        "responseSize": 0 if status_code in (0, 204) else source.randrange(50, 50_000),
        "userId": f"usr_{source.randrange(5_000)}" if source.random() < 0.6 else None,
        "errorFingerprint": f"{source.randrange(50):08x}" if status_code >= 500 else None,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return {name: value for name, value in {**EXAMPLE, **made_up}.items() if value is not None}
