"""What a gRPC client sends over a connection: metadata that is odd, and HTTP/2 frames that are changed."""

import gzip
import struct
from random import Random

from tests.fuzz.identity import FOREIGN_PROJECT_ID, RAW_KEY
from tests.fuzz.messages import valid_message
from tests.fuzz.mutation import mutate

Headers = list[tuple[bytes, bytes]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Frame types and flags (RFC 9113, 6).
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 0x1, 0x4

METHOD = b"/seestack.ingest.v1.IngestService/IngestHttpRequests"
VALUES = [
    b"", b" ", b"x" * 300, b"y" * 9000, b"\xff\xfe", b"\0", b"a\r\nb: c", b"a,b", "ü".encode(), b"%00", b"{}", b"0",
    b"-1", b"trailers, deflate", b"application/grpc+json", b"application/json", b"application/grpcx", b"gzip",
    b"identity", b"br", b"9999999999S", b"abc", b"99999999H", b"1", b"GET", b"PUT", b"https", b"/", b"*",
    METHOD + b"/", METHOD.lower(), b"/grpc.health.v1.Health/Check", b"/seestack.ingest.v1.IngestService/Nothing",
    b"/" + b"a/" * 50, b"7c9e6679-7425-40de-944b-e07fc1f90ae7", b"====", b"AAAA", b"\x80" * 20, RAW_KEY.encode(),
    RAW_KEY.upper().encode(), RAW_KEY.encode() + b" ", b"Bearer " + RAW_KEY.encode(),
    b"'; DROP TABLE http_requests; --",
]  # fmt: skip
NAMES = [
    b"x-seestack-key", b"x-seestack-key-bin", b"x-allstak-key", b"authorization", b"x-request-id", b"grpc-timeout",
    b"grpc-encoding", b"grpc-accept-encoding", b"grpc-status-details-bin", b"grpc-status", b"grpc-trace-bin",
    b"user-agent", b"content-length", b"connection", b"transfer-encoding", b"te", b"host", b"X-Upper", b":unknown",
    b":status", b"", b"a b", b"\xff", b"a\0", b"x-any", b"x-any-bin", b"lb-cost-bin", b"grpc-previous-rpc-attempts",
    b"expect", b"n" * 300,
]  # fmt: skip
TOKENS = [
    *(struct.pack(">IBI", length << 8 | kind, flags, stream) for length in (0, 4, 8) for kind in range(11)
      for flags, stream in ((0, 0), (0, 1), (0xFF, 1), (4, 3))),
    PREFACE, b"\0" * 9, b"\xff" * 9, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x3f\xe1\xff\x03", b"\xbe", b"\x40",
    b"\x10",
]  # fmt: skip


def make_metadata_call(source: Random) -> bytes:
    """Return a unary call with a valid batch and, mostly, odd metadata or an odd message prefix."""
    headers = call_headers()
    for _ in range(source.choice([0, 1, 1, 2, 3])):
        _change_headers(source, headers)
    message = valid_message(source)
    if source.random() < 0.1:
        prefix = source.choice([b"\x01", b"\x02", b"\xff"]) + struct.pack(">I", len(message))
        data = prefix + message
    elif source.random() < 0.1:
        headers.append((b"grpc-encoding", b"gzip"))
        data = grpc_message(gzip.compress(message, mtime=0), is_packed=True)
    else:
        data = grpc_message(message)
    return connection_of(headers, data)


def make_frames(source: Random) -> bytes:
    """Return a call with a batch of somebody else's project, with changes to its frames' bytes."""
    data = grpc_message(valid_message(source, FOREIGN_PROJECT_ID))
    call = connection_of(call_headers(), data)
    start = source.choice([0, len(PREFACE)])
    return call[:start] + mutate(source, call[start:], TOKENS)


def grpc_message(data: bytes, *, is_packed: bool = False) -> bytes:
    """Return a message with the prefix that gRPC gives it."""
    return bytes([is_packed]) + struct.pack(">I", len(data)) + data


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(headers: Headers) -> bytes:
    """Return headers as HPACK literals that are not indexed (RFC 7541, 6.2.2), whatever they are."""
    return b"".join(b"\0" + _hpack_string(name) + _hpack_string(value) for name, value in headers)


def call_headers() -> Headers:
    """Return the headers of a good call."""
    return [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", METHOD), (b":authority", b"localhost"),
        (b"te", b"trailers"), (b"content-type", b"application/grpc"), (b"x-seestack-key", RAW_KEY.encode()),
    ]  # fmt: skip


def _change_headers(source: Random, headers: Headers) -> None:
    index = source.randrange(len(headers))
    name, value = headers[index]
    match source.randrange(8):
        case 0 if len(headers) > 1:
            del headers[index]
        case 1:
            headers.insert(source.randint(0, len(headers)), (name, value))
        case 2:
            headers[index] = (name, source.choice(VALUES))
        case 3:
            headers[index] = (name, mutate(source, value, VALUES))
        case 4:
            headers[index] = (mutate(source, name, NAMES), value)
        case _:
            headers.insert(source.randint(0, len(headers)), (source.choice(NAMES), source.choice(VALUES)))


def connection_of(headers: Headers, data: bytes) -> bytes:
    """Return a connection that brings one call."""
    block = header_block(headers)
    first, rest = block[:16_384], block[16_384:]
    frames = [frame(SETTINGS, 0, 0, b""), frame(HEADERS, 0 if rest else END_HEADERS, 1, first)]
    if rest:
        frames.append(frame(CONTINUATION, END_HEADERS, 1, rest[:16_384]))
    return PREFACE + b"".join([*frames, frame(DATA, END_STREAM, 1, data)])


def _hpack_string(data: bytes) -> bytes:
    """Return a string as it is, its length as an integer with a prefix of seven bits (RFC 7541, 5.1 and 5.2)."""
    if len(data) < 127:
        return bytes([len(data)]) + data
    length, rest = b"\x7f", len(data) - 127
    while rest >= 128:
        length += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return length + bytes([rest]) + data
