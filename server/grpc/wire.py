"""How gRPC writes what is not a message: statuses, metadata and timeouts, as its PROTOCOL-HTTP2.md says."""

import re
from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote_from_bytes

from server.errors import GrpcStatus
from server.http2.header_blocks import encode_headers, encode_status

CONTENT_TYPE: Final = "application/grpc"
# How each answer that is gRPC begins.
HEADERS: Final = encode_status(200) + encode_headers([(b"content-type", CONTENT_TYPE.encode())])
OK: Final = encode_headers([(b"grpc-status", b"0")])
ACCEPTED_ENCODINGS: Final = "identity, deflate, gzip"

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNIT_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_UNQUOTED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def encode_trailers(status: GrpcStatus, message: str, metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Return the header block that ends a call; bytes are for names that end with `-bin`."""
    headers = [(b"grpc-status", b"%d" % status)]
    if message:
        headers.append((b"grpc-message", quote_from_bytes(message.encode(), safe=_UNQUOTED).encode()))
    headers += [(name.encode(), _encode_value(value)) for name, value in metadata]
    return encode_headers(headers)


def parse_timeout(text: str) -> float | None:
    """Return a timeout in seconds, None when it is none."""
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _UNIT_S[found[2]] if found else None


def _encode_value(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else b64encode(value).rstrip(b"=")
