"""Frames that no client should send: they end the stream or the connection, with the reason that the RFC gives."""

import struct

import pytest

from server.http2.errors import ErrorCode
from tests.fuzz.http2_connections import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Headers,
    frame,
    header_block,
)
from tests.http2.client import ACK, Http2Client, body, call, call_headers, head
from tests.http2.serving import MAX_STREAMS, Serving

PADDED = 0x8
BLOCK = header_block(call_headers("echo"))
LARGEST = b"\x7f\xff\xff\xff"
BREAKING: dict[str, tuple[bytes, ErrorCode]] = {
    "DATA of no stream": (body(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA of the connection": (frame(DATA, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS of the connection": (frame(HEADERS, END_HEADERS, 0, BLOCK), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on a stream of the server": (frame(HEADERS, END_HEADERS, 2, BLOCK), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on a stream passed over": (call(5, "echo", b"x") + head(3, "echo"), ErrorCode.STREAM_CLOSED),
    "more padding than DATA": (head(1, "echo") + frame(DATA, PADDED, 1, b"\x05abc"), ErrorCode.PROTOCOL_ERROR),
    "padding without a length": (head(1, "echo") + frame(DATA, PADDED, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "more padding than HEADERS": (frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff\x82"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS without their priority": (frame(HEADERS, END_HEADERS | 0x20, 1, b"\0\0"), ErrorCode.FRAME_SIZE_ERROR),
    "a frame between parts of headers": (frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, b"x" * 8),
                                         ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, END_HEADERS, 3, b""),
                                       ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1, BLOCK), ErrorCode.PROTOCOL_ERROR),
    "headers in very many parts": (frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 100,
                                   ErrorCode.ENHANCE_YOUR_CALM),
    "headers of 80 KiB": (frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1, b"\0" * 2**14) * 5,
                          ErrorCode.ENHANCE_YOUR_CALM),
    "no HPACK": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
                 ErrorCode.COMPRESSION_ERROR),
    "half a header": (frame(HEADERS, END_HEADERS, 1, b"\x40"), ErrorCode.COMPRESSION_ERROR),
    "an entry that no table has": (frame(HEADERS, END_HEADERS, 1, b"\xfe"), ErrorCode.COMPRESSION_ERROR),
    "a table too large": (frame(HEADERS, END_HEADERS, 1, b"\x3f\xe2\x1f" + BLOCK), ErrorCode.COMPRESSION_ERROR),
    "a table resized very often": (frame(HEADERS, END_HEADERS, 1, b"\x20\x3f\xe1\x1f" * 10 + BLOCK),
                                   ErrorCode.COMPRESSION_ERROR),
    "a large header, used very often": (
        frame(HEADERS, END_HEADERS, 1, b"\x40\x01a\x7f\xa1\x17" + b"x" * 3104 + b"\xbe" * 8000),
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "a frame too large": (b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 1000, ErrorCode.FRAME_SIZE_ERROR),
    "RST_STREAM of no stream": (frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), ErrorCode.PROTOCOL_ERROR),
    "a short RST_STREAM": (head(1, "hang") + frame(RST_STREAM, 0, 1, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "half a setting": (frame(SETTINGS, 0, 0, b"\0\4\0"), ErrorCode.FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (frame(SETTINGS, ACK, 0, b"\0\4\0\0\0\0"), ErrorCode.FRAME_SIZE_ERROR),
    "a window too large from the start": (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)),
                                          ErrorCode.FLOW_CONTROL_ERROR),
    "frames too small": (frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 100)), ErrorCode.PROTOCOL_ERROR),
    "neither push nor no push": (frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), ErrorCode.PROTOCOL_ERROR),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + BLOCK), ErrorCode.PROTOCOL_ERROR),
    "PING of a stream": (frame(PING, 0, 1, b"x" * 8), ErrorCode.PROTOCOL_ERROR),
    "a short PING": (frame(PING, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 1, b"\0" * 8), ErrorCode.PROTOCOL_ERROR),
    "a short GOAWAY": (frame(GOAWAY, 0, 0, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of no stream": (frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of nothing": (frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), ErrorCode.PROTOCOL_ERROR),
    "a short WINDOW_UPDATE": (frame(WINDOW_UPDATE, 0, 0, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
    "a window of the connection too large": (frame(WINDOW_UPDATE, 0, 0, LARGEST), ErrorCode.FLOW_CONTROL_ERROR),
    "PRIORITY of the connection": (frame(PRIORITY, 0, 0, b"\0" * 5), ErrorCode.PROTOCOL_ERROR),
    "too many pings": (frame(PING, 0, 0, b"x" * 8) * 100, ErrorCode.ENHANCE_YOUR_CALM),
    "too many settings": (frame(SETTINGS, 0, 0, b"") * 3000, ErrorCode.ENHANCE_YOUR_CALM),
    "too much empty DATA": (head(1, "count") + frame(DATA, 0, 1, b"") * 3000, ErrorCode.ENHANCE_YOUR_CALM),
    "too much PRIORITY": (frame(PRIORITY, 0, 1, b"\0" * 5) * 3000, ErrorCode.ENHANCE_YOUR_CALM),
    "too many unknown frames": (frame(0x42, 0, 0, b"") * 3000, ErrorCode.ENHANCE_YOUR_CALM),
    "too many resets": (
        b"".join(head(stream, "hang") + frame(RST_STREAM, 0, stream, b"\0\0\0\x08") for stream in range(1, 5001, 2)),
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_the_rules_of_a_connection_ends_it(serving: Serving, client: Http2Client, name: str) -> None:
    sent, code = BREAKING[name]
    client.send(sent)
    assert ErrorCode(client.expect_code(GOAWAY)) is code
    with pytest.raises(EOFError):
        client.receive()
    with Http2Client(serving.port) as other:
        other.assert_serves(1)


@pytest.mark.parametrize("opening", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", PREFACE[:-1] + b"x", b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03",
    PREFACE + frame(PING, 0, 0, b"x" * 8), PREFACE + frame(SETTINGS, ACK, 0, b""), PREFACE + call(1, "echo", b"x"),
])  # fmt: skip
def test_what_is_no_http_2_is_refused(serving: Serving, opening: bytes) -> None:
    with Http2Client(serving.port, opening) as client:
        assert ErrorCode(client.expect_code(GOAWAY)) is ErrorCode.PROTOCOL_ERROR


ENDING: dict[str, tuple[bytes, ErrorCode]] = {
    "an empty WINDOW_UPDATE": (head(1, "hang") + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\0"), ErrorCode.PROTOCOL_ERROR),
    "a window too large": (head(1, "hang") + frame(WINDOW_UPDATE, 0, 1, LARGEST), ErrorCode.FLOW_CONTROL_ERROR),
    "DATA after the end": (call(1, "hang", b"x") + body(1, b"x"), ErrorCode.STREAM_CLOSED),
    "HEADERS after the end": (call(1, "hang", b"x") + head(1, "echo"), ErrorCode.STREAM_CLOSED),
    "HEADERS that do not end": (head(1, "hang") + head(1, "hang"), ErrorCode.PROTOCOL_ERROR),
    "trailers with a path": (head(1, "hang") + head(1, "hang", flags=END_STREAM), ErrorCode.PROTOCOL_ERROR),
    "a short PRIORITY": (head(1, "hang") + frame(PRIORITY, 0, 1, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
    "more DATA than announced": (head(1, "count", ("content-length", "5")) + body(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "less DATA than announced": (head(1, "count", ("content-length", "7")) + body(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "no DATA where some is announced": (head(1, "count", ("content-length", "7"), flags=END_STREAM),
                                        ErrorCode.PROTOCOL_ERROR),
    "a length that is none": (head(1, "count", ("content-length", "x")), ErrorCode.PROTOCOL_ERROR),
    "more than the window": (head(1, "hang") + frame(DATA, 0, 1, b"x" * 2**14) * 4, ErrorCode.FLOW_CONTROL_ERROR),
    "one stream too many": (b"".join(head(stream, "hang") for stream in range(3, 2 * MAX_STREAMS + 4, 2)),
                            ErrorCode.REFUSED_STREAM),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDING)
def test_what_breaks_the_rules_of_a_stream_ends_that_alone(client: Http2Client, name: str) -> None:
    sent, code = ENDING[name]
    client.send(sent)
    assert ErrorCode(client.expect_code(RST_STREAM)) is code
    if code is ErrorCode.REFUSED_STREAM:
        client.send(frame(RST_STREAM, 0, 3, b"\0\0\0\x08"))
    client.assert_serves(1001)


GOOD = call_headers("echo")
MALFORMED: dict[str, Headers] = {
    "no path": [header for header in GOOD if header[0] != b":path"],
    "an empty path": [(b":path", b"") if header[0] == b":path" else header for header in GOOD],
    "no method": [header for header in GOOD if header[0] != b":method"],
    "no scheme": [header for header in GOOD if header[0] != b":scheme"],
    "two methods": [(b":method", b"POST"), *GOOD],
    "a pseudo-header of answers": [(b":status", b"200"), *GOOD],
    "a pseudo-header among others": [*GOOD, (b":authority", b"x")],
    "upper case": [*GOOD, (b"X-Test", b"x")],
    "a blank in a name": [*GOOD, (b"x test", b"x")],
    "an empty name": [*GOOD, (b"", b"x")],
    "a line feed in a value": [*GOOD, (b"x-test", b"a\nb: c")],
    "NUL in a value": [*GOOD, (b"x-test", b"\0")],
    "connection": [*GOOD, (b"connection", b"close")],
    "transfer-encoding": [*GOOD, (b"transfer-encoding", b"chunked")],
    "te": [*GOOD, (b"te", b"trailers, deflate")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_headers_that_are_no_request_end_the_stream(client: Http2Client, name: str) -> None:
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(MALFORMED[name])))
    assert ErrorCode(client.expect_code(RST_STREAM)) is ErrorCode.PROTOCOL_ERROR
    client.assert_serves(3)
