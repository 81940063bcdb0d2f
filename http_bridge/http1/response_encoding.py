"""Responses as bytes (RFC 9112)."""

import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache

_WITHOUT_BODY = frozenset({"204", "304"})


def encode_response(
    status: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | None,
    *,
    is_last: bool,
    method: str = "",
    protocol: str = "HTTP/1.1",
) -> bytes:
    """Return an answer to a request of that method and protocol; `is_last` says that the connection ends with it.

    A body of None follows in chunks, or for HTTP/1.0 as it is, up to the end of the connection.
    """
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name}: {value}" for name, value in headers]
    names = {name for name, _ in headers}
    if "Content-Length" not in names and status[:3] not in _WITHOUT_BODY:
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        elif protocol != "HTTP/1.0":
            lines.append("Transfer-Encoding: chunked")
    if "Date" not in names:
        lines.append(_date(int(time.time())))
    if is_last:
        lines.append("Connection: close")
    elif protocol == "HTTP/1.0":
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if method == "HEAD" or body is None else head + body


def is_of_any_length(status: str, headers: Sequence[tuple[str, str]]) -> bool:
    """Tell whether an answer has a body whose length nobody has said."""
    return status[:3] not in _WITHOUT_BODY and not any(name == "Content-Length" for name, _ in headers)


def encode_chunk(data: bytes) -> bytes:
    """Return a part of a body that is sent in chunks (RFC 9112, 7.1); an empty one is its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@lru_cache(1)
def _date(now: int) -> str:
    return f"Date: {formatdate(now, usegmt=True)}"
