"""Requests as bytes."""

import json

from tests.batches import make_batch
from tests.running_server import INGEST_PATH, RunningServer

PING = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
PONG = {"status": "ok"}
NO_HTTP = (400, "MALFORMED_REQUEST", "Request is not valid HTTP/1.1")
INVALID_KEY = (401, "INVALID_API_KEY", "Invalid or missing API key")


def batch(server: RunningServer, trace_id: str = "trace", count: int = 1) -> bytes:
    """Return the body of a valid request."""
    return json.dumps(make_batch(server.project_id, count, traceId=trace_id)).encode()


def head(
    server: RunningServer,
    *headers: str,
    target: str = INGEST_PATH,
    version: str = "HTTP/1.1",
    key: str | None = None,
) -> bytes:
    """Return the head of a request for the endpoint, with the server's key unless another is given."""
    lines = [
        f"POST {target} {version}",
        "Host: x",
        "Content-Type: application/json",
        f"X-SeeStack-Key: {server.api_key if key is None else key}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(server: RunningServer, body: bytes, *headers: str, version: str = "HTTP/1.1") -> bytes:
    """Return a whole request."""
    return head(server, f"Content-Length: {len(body)}", *headers, version=version) + body


def chunked(body: bytes, size: int, last: bytes = b"0\r\n\r\n") -> bytes:
    """Return a body in chunks of `size` bytes (RFC 9112, 7.1)."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + last
