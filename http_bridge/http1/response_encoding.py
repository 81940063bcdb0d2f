"""Responses as bytes (RFC 9112)."""

import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache

_WITHOUT_BODY = frozenset({"204", "304"})


def encode_response(
    status: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    *,
    is_last: bool,
    method: str = "",
    protocol: str = "HTTP/1.1",
) -> bytes:
    """Return an answer to a request of that method and protocol; `is_last` says that the connection ends with it."""
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name}: {value}" for name, value in headers]
    names = {name for name, _ in headers}
    if "Content-Length" not in names and status[:3] not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {len(body)}")
    if "Date" not in names:
        lines.append(_date(int(time.time())))
    if is_last:
        lines.append("Connection: close")
    elif protocol == "HTTP/1.0":
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if method == "HEAD" else head + body


@lru_cache(1)
def _date(now: int) -> str:
    return f"Date: {formatdate(now, usegmt=True)}"
