"""What a client sends over an HTTP/1.1 connection: heads, framing and bodies of valid requests, changed."""

import gzip
from random import Random

from tests.fuzz.identity import RAW_KEY
from tests.fuzz.json_bodies import make_body
from tests.fuzz.mutation import mutate
from tests.http.messages import chunked
from tests.running_server import INGEST_PATH

LINES = [
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 0x5",
    b"Content-Length:", b"Content-Length: 99999999999999999999", b"Content-Length : 5", b"Content_Length: 5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:chunked", b"TRANSFER-ENCODING: CHUNKED", b" chunked",
    b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: h2c", b"Upgrade: websocket",
    b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQAAP__", b"Expect: 100-continue", b"Expect: x",
    b"Host: x", b"Host: " + b"x" * 70, b"Host: a b", b"Host: \xff", b"Host:", b"X-SeeStack-Key: " + RAW_KEY.encode(),
    b"X-SeeStack-Key: \xff\xfe", b"X_SeeStack_Key: " + RAW_KEY.encode(), b"Content-Encoding: gzip",
    b"Content-Encoding: br", b"Content-Encoding: gzip, gzip", b"Content-Type: text/plain",
    b"Content-Type: application/json; charset=\xff", b"Content-Type: application/json; a*=utf-8''%ff",
    b"Content-Type: application/json;;;=\"", b"Origin: http://\xff",
    b"X-Request-Id: 7c9e6679-7425-40de-944b-e07fc1f90ae7", b"X-Request-Id: \r\n\tx", b"Range: bytes=0-1",
    b"Cookie: a=\xff; =b", b"If-None-Match: *", b"If-Modified-Since: \xff", b"Accept-Encoding: \xff",
    b"X: " + b"y" * 70_000, b"y" * 70_000 + b": x", b"no colon", b": no name", b"a b: c", b"X: a\x00b", b"X: a\rb",
    b"", b"Authorization: Bearer x", b"Trailer: X",
]  # fmt: skip
METHODS = [
    b"GET",
    b"HEAD",
    b"OPTIONS",
    b"PUT",
    b"POST",
    b"CONNECT",
    b"TRACE",
    b"BREW",
    b"post",
    b"M-SEARCH",
    b"PRI",
    b"",
]
TARGETS = [
    INGEST_PATH.encode(), b"/healthz", b"/readyz", b"/openapi.json", b"/docs/", b"/docs/../etc/passwd", b"//healthz",
    b"*", b"/docs/%2e%2e/%2e%2e/etc/passwd", b"/docs/%00", b"/docs/\\..", b"/" + b"a" * 66_000, b"http://[::1",
    b"http://x@y:1/", b"x:y", b"/%", b"/%ff%fe", b"/\xff", b"", b"/?" + b"&" * 500, b"/;a=b", b"/docs//index.html",
    b"http:///healthz",
]  # fmt: skip
VERSIONS = [
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/1.2",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.1 ",
    b"http/1.1",
    b"HTTP/1.10",
    b"",
]
TOKENS = [
    *(line + b"\r\n" for line in LINES if len(line) < 300), b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\t", b" ",
    b"0\r\n\r\n", b"0\r\nX-SeeStack-Key: x\r\n\r\n", b"ffffffffffffffff\r\n", b"10000000000000000\r\n", b"5;a=b\r\n",
    b"-1\r\n", b"5 \r\n", b"%00", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00", b"\xff",
]  # fmt: skip
MOST_REQUESTS = 3


def make_connection(source: Random) -> bytes:
    """Return one to three requests, most of them with odd lines, framing or bytes."""
    data = b"".join(_make_request(source) for _ in range(source.randint(1, MOST_REQUESTS)))
    return mutate(source, data, TOKENS) if source.random() < 0.6 else data


def _make_request(source: Random) -> bytes:
    body = make_body(source) if source.random() < 0.3 else _valid_body(source)
    line = [b"POST", INGEST_PATH.encode(), b"HTTP/1.1"]
    if source.random() < 0.3:
        part = source.randrange(3)
        line[part] = source.choice([METHODS, TARGETS, VERSIONS][part])
    lines = [b" ".join(line), b"Host: x", b"Content-Type: application/json", b"X-SeeStack-Key: " + RAW_KEY.encode()]
    if source.random() < 0.2:
        body = _damage(source, gzip.compress(body, mtime=0))
        lines.append(b"Content-Encoding: gzip")
    if source.random() < 0.4:
        body = _damage(source, chunked(body, source.choice([1, 7, 1000]) if len(body) < 5000 else 1000))
        lines.append(b"Transfer-Encoding: chunked")
    else:
        lines.append(b"Content-Length: %d" % len(body))
    for _ in range(source.choice([0, 0, 1, 2])):
        lines.insert(source.randint(1, len(lines)), source.choice(LINES))
    if source.random() < 0.1:
        lines.pop(source.randrange(1, len(lines)))
    return b"\r\n".join([*lines, b"", b""]) + body


def _valid_body(source: Random) -> bytes:
    while True:
        body = make_body(Random(source.getrandbits(16)))
        if len(body) < 2000:
            return body


def _damage(source: Random, data: bytes) -> bytes:
    return mutate(source, data, TOKENS) if source.random() < 0.3 else data
