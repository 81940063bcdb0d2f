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
from grpc_status import rpc_status

from seestack.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from server.access.api_key_header import KEY_HEADER
from server.cli.channel import Certificates
from server.cli.sample_story import Incident, Row, Service, System, endpoints_of
from server.contract.fields import FIELDS

TIMEOUT_S = 15.0

_START_ONE = "`seestack-ingest serve` starts a server"
_SYSTEM = System(
    [
        Service("shop.example.com", endpoints_of(["orders", "carts", "sessions", "products"])),
        Service("stock.example.com", endpoints_of(["items", "shelves"])),
        Service("accounts.example.com", endpoints_of(["users", "addresses", "invoices"])),
    ],
    [
        Service("payments.example.com", endpoints_of(["charges", "refunds"])),
        Service("search.example.com", endpoints_of(["queries"])),
        Service("storage.example.com", endpoints_of(["objects", "buckets"])),
    ],
)
# When things go wrong, as shares of all the rows that are sent.
_INCIDENTS = ((0.3, 0.45, Incident.BAD_DEPLOY), (0.65, 0.8, Incident.SLOW_DEPENDENCY))


class SendError(Exception):
    """The server did not take a batch; the message says why."""


class Client(Protocol):
    """Sends batches to a server."""

    def send(self, project_id: str, items: list[dict[str, Any]]) -> int:
        """Send one batch and return the number of rows stored. Raises SendError."""


def make_items(count: int, source: random.Random, incident: Incident = Incident.NONE) -> list[dict[str, Any]]:
    """Return `count` generated items, as in a JSON body: traces that end now, the last of them cut off."""
    rows: list[Row] = []
    while len(rows) < count:
        rows += _SYSTEM.make_trace(time.time_ns() // 1000, source, incident)
    return [_to_item(row) for row in rows[:count]]


def to_message(item: dict[str, Any]) -> ingest_pb2.HttpRequest:
    """Return an item as a protobuf message."""
    return ParseDict(item, ingest_pb2.HttpRequest())


class HttpClient:
    """Sends JSON over one kept-alive HTTP connection to `url`, e.g. http://127.0.0.1:8080."""

    def __init__(self, url: str, raw_key: str, ca_cert: Path | None = None) -> None:
        """`ca_cert` is a PEM file of the CAs to trust; without it, those of the system. Raises SendError."""
        self._url = url
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
            told = f"no answer from {self._url}: {error or type(error).__name__}"
            raise SendError(f"{told}; {_START_ONE}, --url names another (https:// where it speaks TLS)") from error
        if response.status != http.HTTPStatus.ACCEPTED:
            raise SendError(f"HTTP {response.status}: {answer.decode(errors='replace')}")
        accepted: int = msgspec.json.decode(answer)["accepted"]
        return accepted


class GrpcClient:
    """Sends protobuf messages over one gRPC channel to `target`, e.g. 127.0.0.1:50051."""

    def __init__(self, target: str, raw_key: str, certificates: Certificates) -> None:
        """Raises OSError."""
        self._certificates = certificates
        channel = certificates.open_channel(target)
        self._stub = ingest_pb2_grpc.IngestServiceStub(channel)
        self._metadata = ((KEY_HEADER, raw_key),)

    def send(self, project_id: str, items: list[dict[str, Any]]) -> int:
        """See Client."""
        request = ingest_pb2.IngestHttpRequestsRequest(project_id=project_id, requests=map(to_message, items))
        try:
            response = self._stub.IngestHttpRequests(request, timeout=TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise SendError(self._explain(error)) from error
        except ValueError as error:
            raise SendError(f"the key cannot be sent: {error}") from error
        return response.accepted

    def _explain(self, error: Any) -> str:
        told = f"gRPC {error.code().name}: {error.details()}"
        if error.code() is grpc.StatusCode.UNAVAILABLE and rpc_status.from_call(error) is None:
            return f"{told}; {_START_ONE}, --target names another; {self._certificates.advice}"
        return told


def send_at_rate(
    client: Client, project_id: str, *, rows: int, rows_per_second: float, batch_size: int
) -> Iterator[int]:
    """Send `rows` generated rows at an even rate and yield how many were stored, batch by batch. Raises SendError."""
    source = random.Random()  # noqa: S311 - nothing secret
    started = time.monotonic()
    sent = 0
    while sent < rows:
        time.sleep(max(0.0, started + sent / rows_per_second - time.monotonic()))
        items = make_items(min(batch_size, rows - sent), source, _incident_at(sent / rows))
        yield client.send(project_id, items)
        sent += len(items)


def _incident_at(share: float) -> Incident:
    return next((incident for begin, end, incident in _INCIDENTS if begin <= share < end), Incident.NONE)


def _to_item(row: Row) -> dict[str, Any]:
    moment = datetime.fromtimestamp(row.timestamp / 1_000_000, UTC)
    values = {**row._asdict(), "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    return {field.json_name: values[field.name] for field in FIELDS if values[field.name] is not None}
