"""gRPC over HTTP/2 as PROTOCOL-HTTP2.md has it: statuses, metadata, messages, compression, deadlines."""

import gzip
import struct
import zlib
from collections.abc import Callable

import pytest

from tests.fuzz.http2_connections import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    frame,
    grpc_message,
    header_block,
)
from tests.http2.client import Http2Client, body, call, call_headers, head
from tests.http2.serving import MAX_BODY_BYTES, Serving
from tests.process.polling import wait_until

OK, INVALID, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = "0", "3", "4", "8", "12", "13"
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def test_a_call_that_comes_byte_by_byte_is_a_call(client: Http2Client) -> None:
    for byte in call(1, "echo", b"slow"):
        client.send(bytes((byte,)))
    assert client.answer(1).messages == [b"slow"]


def test_calls_in_one_packet_are_all_answered(client: Http2Client) -> None:
    streams = range(1, 31, 2)
    client.send(b"".join(call(stream, "echo", b"%d" % stream) for stream in streams))
    assert [answer.messages for answer in client.answers(*streams)] == [[b"%d" % stream] for stream in streams]


def test_parts_of_calls_may_be_mixed(client: Http2Client) -> None:
    parts = [grpc_message(b"x" * 1000)[at : at + 100] for at in range(0, 1100, 100)]
    client.send(head(1, "echo"), head(3, "echo"), head(5, "echo_all"))
    for part in parts:
        client.send(*(frame(DATA, 0, stream, part) for stream in (5, 3, 1)))
    client.send(body(3), body(1), body(5))
    assert [answer.messages for answer in client.answers(1, 3, 5)] == [[b"x" * 1000]] * 3


def test_headers_may_come_in_parts_with_padding_and_priority(client: Http2Client) -> None:
    block = header_block(call_headers("echo"))
    first = frame(HEADERS, 0x8 | 0x20, 1, b"\x04" + b"\0\0\0\0\x10" + block[:10] + b"\0" * 4)
    parts = [frame(CONTINUATION, 0, 1, bytes((byte,))) for byte in block[10:20]]
    client.send(first, *parts, frame(CONTINUATION, END_HEADERS, 1, block[20:]))
    client.send(frame(DATA, END_STREAM | 0x8, 1, b"\x03" + grpc_message(b"padded") + b"\0" * 3))
    assert client.answer(1).messages == [b"padded"]


def test_trailers_of_a_client_end_its_messages(client: Http2Client) -> None:
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block([(b"x-any", b"x")]))
    client.send(head(1, "count"), body(1, b"a", b"b", flags=0), trailers)
    assert client.answer(1).messages == [b"2"]


def test_answers_come_before_a_stream_has_ended(client: Http2Client) -> None:
    client.send(head(1, "echo_all"))
    for number in range(5):
        client.send(body(1, b"%d" % number, flags=0))
        assert client.expect(DATA) == grpc_message(b"%d" % number)
    client.send(body(1))
    assert client.answer(1).status == OK


def test_an_answer_before_the_end_of_the_call_stops_its_client(client: Http2Client) -> None:
    client.send(head(1, "refuse"))
    assert client.answer(1).status == INTERNAL
    assert client.expect(RST_STREAM, 1) == b"\0\0\0\0"
    client.send(body(1, b"late", flags=0), body(1, b"late"), frame(PING, 0, 0, b"testping"))
    assert client.receive()[0] == PING  # what came late is dropped without a word


def test_what_failed_is_not_told(client: Http2Client) -> None:
    client.send(call(1, "refuse", b""))
    answer = client.answer(1)
    assert (answer.status, answer.headers["grpc-message"]) == (INTERNAL, "An unexpected error occurred")
    assert "secret" not in str(answer.headers)


@pytest.mark.parametrize(("change", "status"), [
    ({":method": "GET"}, "405"), ({"content-type": "application/json"}, "415"), ({"content-type": ""}, "415"),
    ({"content-type": "application/grpcx"}, "415"),
])  # fmt: skip
def test_what_is_no_grpc_is_answered_as_http(client: Http2Client, change: dict[str, str], status: str) -> None:
    headers = [(name, change.get(name.decode(), value.decode()).encode()) for name, value in call_headers("echo")]
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(headers)))
    answer = client.answer(1)
    assert (answer.headers[":status"], answer.status) == (status, None)


@pytest.mark.parametrize("kind", ["application/grpc+proto", "application/grpc;charset=utf-8", "APPLICATION/GRPC"])
def test_other_names_of_grpc_will_do(client: Http2Client, kind: str) -> None:
    headers = [*call_headers("echo")[:-1], (b"content-type", kind.encode())]
    client.send(frame(HEADERS, END_HEADERS, 1, header_block(headers)), body(1, b"x"))
    assert client.answer(1).messages == [b"x"]


@pytest.mark.parametrize("path", [b"/test.Test/nothing", b"/", b"*", b"/test.Test/echo/", b"/test.Test/\xff\xfe"])
def test_a_method_that_is_unknown_is_unimplemented(client: Http2Client, path: bytes) -> None:
    headers = [(name, path if name == b":path" else value) for name, value in call_headers("echo")]
    client.send(frame(HEADERS, END_HEADERS, 1, header_block(headers)), body(1, b"x"))
    answer = client.answer(1)
    assert (answer.headers[":status"], answer.status) == ("200", UNIMPLEMENTED)


def test_metadata_of_the_same_name_is_one_without_blanks_around_it(client: Http2Client) -> None:
    client.send(head(1, "metadata", ("x-test", " a "), ("x-test", "b\t")) + body(1))
    assert client.answer(1).messages == [b"a,b"]


def test_large_metadata_is_refused_and_the_connection_goes_on(client: Http2Client) -> None:
    block = header_block([*call_headers("echo"), (b"x-test", b"x" * 20_000)])
    client.send(frame(HEADERS, 0, 1, block[:16_000]), frame(CONTINUATION, END_HEADERS, 1, block[16_000:]), body(1))
    assert client.answer(1).status == RESOURCE_EXHAUSTED
    client.assert_serves(3)


@pytest.mark.parametrize("encoding", COMPRESSORS)
def test_messages_may_be_compressed(client: Http2Client, encoding: str) -> None:
    packed = COMPRESSORS[encoding](b"x" * 10_000)
    client.send(head(1, "echo", ("grpc-encoding", encoding)))
    client.send(frame(DATA, END_STREAM, 1, grpc_message(packed, is_packed=True)))
    assert client.answer(1).messages == [b"x" * 10_000]


@pytest.mark.parametrize("encoding", COMPRESSORS)
@pytest.mark.parametrize(("make", "status"), [
    (lambda pack: grpc_message(pack(b"\0" * 2**26), is_packed=True), RESOURCE_EXHAUSTED),
    (lambda pack: grpc_message(pack(b"x" * 1000)[:-8], is_packed=True), INTERNAL),
    (lambda _: grpc_message(b"rubbish", is_packed=True), INTERNAL),
    (lambda pack: b"\2" + grpc_message(pack(b"x"))[1:], INTERNAL),
])  # fmt: skip
def test_what_cannot_be_unpacked_is_refused(
    client: Http2Client, encoding: str, make: Callable[[Callable[[bytes], bytes]], bytes], status: str
) -> None:
    message = make(COMPRESSORS[encoding])
    client.send(head(1, "echo", ("grpc-encoding", encoding)))
    client.send(*(frame(DATA, 0, 1, message[at : at + 2**14]) for at in range(0, len(message), 2**14)), body(1))
    assert client.answer(1).status == status
    client.assert_serves(3)


def test_a_message_of_several_gzip_members_is_whole(client: Http2Client) -> None:
    message = grpc_message(gzip.compress(b"one, ") + gzip.compress(b"two"), is_packed=True)
    client.send(head(1, "echo", ("grpc-encoding", "gzip")), frame(DATA, END_STREAM, 1, message))
    assert client.answer(1).messages == [b"one, two"]


def test_a_compression_that_is_unknown_is_refused_with_those_that_are_known(client: Http2Client) -> None:
    client.send(head(1, "echo", ("grpc-encoding", "br")) + body(1, b"x"))
    answer = client.answer(1)
    assert (answer.status, answer.headers["grpc-accept-encoding"]) == (UNIMPLEMENTED, "identity, deflate, gzip")


@pytest.mark.parametrize(("data", "status"), [
    (b"\1\0\0\0\1x", INTERNAL), (b"\0\0\0\0", INTERNAL), (b"\0\0\0\0\5abc", INTERNAL),
    (b"\0" + struct.pack(">I", 4 * MAX_BODY_BYTES + 1), RESOURCE_EXHAUSTED),
    (b"\0\xff\xff\xff\xff", RESOURCE_EXHAUSTED),
])  # fmt: skip
def test_what_is_no_message_is_refused(client: Http2Client, data: bytes, status: str) -> None:
    client.send(head(1, "echo"), frame(DATA, END_STREAM, 1, data))
    assert client.answer(1).status == status


@pytest.mark.parametrize(("method", "size"), [("echo", 4 * MAX_BODY_BYTES + 1), ("echo_single", MAX_BODY_BYTES + 1)])
def test_a_message_too_large_is_refused_before_it_comes(client: Http2Client, method: str, size: int) -> None:
    client.send(head(1, method), frame(DATA, 0, 1, b"\0" + struct.pack(">I", size)))
    assert client.answer(1).status == RESOURCE_EXHAUSTED


def test_a_deadline_ends_the_call_on_both_sides(serving: Serving, client: Http2Client) -> None:
    cancelled = serving.methods.cancelled
    client.send(head(1, "hang", ("grpc-timeout", "20m")) + body(1, b"x"))
    assert client.answer(1).status == DEADLINE_EXCEEDED
    wait_until(lambda: serving.methods.cancelled == cancelled + 1, "the handler is cancelled")
    client.send(head(3, "echo", ("grpc-timeout", "99999999H")) + body(3, b"x"))
    assert client.answer(3).status == OK


@pytest.mark.parametrize("timeout", ["1", "abc", "-1S", "123456789S", ""])
def test_a_timeout_that_is_none_is_refused(client: Http2Client, timeout: str) -> None:
    client.send(head(1, "echo", ("grpc-timeout", timeout)) + body(1, b"x"))
    assert client.answer(1).status == INTERNAL


def test_a_call_that_is_reset_is_cancelled(serving: Serving, client: Http2Client) -> None:
    cancelled = serving.methods.cancelled
    client.send(call(1, "hang", b"x"))
    client.ping()
    client.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
    wait_until(lambda: serving.methods.cancelled == cancelled + 1, "the handler is cancelled")
    client.assert_serves(3)


def test_calls_of_a_client_that_leaves_are_cancelled(serving: Serving) -> None:
    cancelled = serving.methods.cancelled
    with Http2Client(serving.port) as client:
        client.send(call(1, "hang", b"x"), call(3, "hang", b"x"))
        client.ping()
    wait_until(lambda: serving.methods.cancelled == cancelled + 2, "the handlers are cancelled")
