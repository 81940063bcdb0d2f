"""Flow control in both directions: nothing is sent or kept beyond the windows, and nobody holds up another."""

import struct
from contextlib import suppress

import pytest

from server.http2.errors import ErrorCode
from tests.fuzz.http2_connections import DATA, GOAWAY, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame
from tests.http2.client import OPENING, Http2Client, body, call, head
from tests.http2.serving import MAX_BODY_BYTES, MAX_HELD_BYTES, MAX_STREAMS, Serving

WINDOW = 65_535
LARGE = 3 * MAX_BODY_BYTES  # more than a window, less than the largest message that is read
MOST_SENT = 2**26


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def initial_window(size: int) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, size))


def data_frames(stream: int, data: bytes) -> list[bytes]:
    return [frame(DATA, 0, stream, data[at : at + 2**14]) for at in range(0, len(data), 2**14)]


@pytest.mark.parametrize("size", [0, 1, 100, 100_000])
@pytest.mark.parametrize("window", [1, 7, 5000])
def test_an_answer_comes_in_pieces_as_large_as_the_window(serving: Serving, size: int, window: int) -> None:
    total = size + 5
    if total // window > 1000:
        pytest.skip("many pieces show nothing more")
    with Http2Client(serving.port, PREFACE + initial_window(window) + window_update(0, 2**20)) as client:
        client.send(call(1, "fill", b"%d" % size))
        received = b""
        while len(received) < total:
            piece = client.expect(DATA, 1)
            assert len(piece) <= window
            received += piece
            client.send(window_update(1, len(piece)))
        assert received[5:] == b"x" * size
        assert client.answer(1).status == "0"


def test_a_window_that_is_changed_counts_for_streams_under_way(serving: Serving) -> None:
    with Http2Client(serving.port, PREFACE + initial_window(10)) as client:
        client.send(call(1, "fill", b"100"))
        assert len(client.expect(DATA)) == 10
        client.send(initial_window(0), window_update(1, 15))  # 10 less, 15 more
        assert len(client.expect(DATA)) == 5
        client.send(initial_window(1000))
        assert len(client.expect(DATA)) == 90
        assert client.answer(1).status == "0"


def test_a_stream_without_room_does_not_hold_up_others(client: Http2Client) -> None:
    client.send(initial_window(0), call(1, "fill", b"10"), initial_window(100), call(3, "fill", b"20"))
    assert [len(answer.data) for answer in client.answers(1, 3)] == [15, 25]


def test_the_window_of_the_connection_is_for_all_streams(serving: Serving) -> None:
    with Http2Client(serving.port, PREFACE + initial_window(2**20)) as client:
        client.send(call(1, "fill", b"50000"), call(3, "fill", b"50000"))
        received = 0
        while received < WINDOW:
            received += len(client.expect(DATA))
        assert received == WINDOW
        client.ping()
        client.send(window_update(0, 100_010 - WINDOW))
        while received < 100_010:
            received += len(client.expect(DATA))
        assert received == 100_010


def test_an_answer_without_room_ends_with_its_call(serving: Serving, client: Http2Client) -> None:
    client.send(initial_window(0), call(1, "fill", b"10"))
    client.ping()
    client.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), initial_window(100))
    client.assert_serves(3)


def test_a_message_is_let_in_as_far_as_it_is_wanted(client: Http2Client) -> None:
    message = bytes(range(256)) * (LARGE // 256)
    sent = b"\0" + struct.pack(">I", LARGE) + message
    client.send(head(1, "echo"), *data_frames(1, sent[:100]))
    granted = int.from_bytes(client.expect(WINDOW_UPDATE, 1), "big")
    assert WINDOW + granted == len(sent)
    client.send(window_update(1, 2**20), window_update(0, 2**20), *data_frames(1, sent[100:]))
    assert client.answer(1).messages == [message]


def test_a_message_that_nobody_reads_gets_one_window(client: Http2Client) -> None:
    client.send(head(1, "hang"), *data_frames(1, b"\0" * WINDOW))
    client.assert_serves(3)
    client.send(frame(DATA, 0, 1, b"x"))
    assert ErrorCode(client.expect_code(RST_STREAM)) is ErrorCode.FLOW_CONTROL_ERROR


def test_a_long_stream_gets_window_after_window(client: Http2Client) -> None:
    client.send(head(1, "count"))
    window = WINDOW
    for _ in range(200):
        while window < 10_005:
            window += int.from_bytes(client.expect(WINDOW_UPDATE, 1), "big")
        client.send(body(1, b"x" * 10_000, flags=0))
        window -= 10_005
    client.send(body(1))
    assert client.answer(1).messages == [b"200"]


def test_padding_counts(client: Http2Client) -> None:
    padded = frame(DATA, 0x8, 1, bytes([200]) + b"\0" * 200)
    client.send(head(1, "hang"), padded * (WINDOW // 201), frame(DATA, 0, 1, b"x" * (WINDOW % 201 + 1)))
    assert ErrorCode(client.expect_code(RST_STREAM)) is ErrorCode.FLOW_CONTROL_ERROR


def test_a_message_with_much_padding_gets_through(client: Http2Client) -> None:
    message = b"x" * 60_000
    data = b"\0" + len(message).to_bytes(4, "big") + message
    client.send(head(1, "echo"))
    room = WINDOW
    for at in range(0, len(data), 200):
        payload = b"\xff" + data[at : at + 200] + bytes(255)
        while len(payload) > room:
            room += int.from_bytes(client.expect(WINDOW_UPDATE, 1), "big")
        client.send(frame(DATA, 0x8, 1, payload))
        room -= len(payload)
    client.send(frame(DATA, 0x1, 1, b""))
    assert client.answer(1).messages == [message]


def test_the_oldest_of_too_many_unread_bytes_make_room(serving: Serving) -> None:
    clients = [Http2Client(serving.port) for _ in range(2)]
    first, second = clients
    streams = range(1, 2 * MAX_STREAMS, 2)
    assert 2 * MAX_STREAMS * WINDOW > MAX_HELD_BYTES
    for client in clients:
        for stream in streams[:-1]:
            client.send(head(stream, "hang"), *data_frames(stream, b"\0" * WINDOW))
        client.ping()
    first.assert_serves(1001)
    second.send(body(streams[0]))
    for client in clients:
        client.raw.reset()


def test_what_was_cut_to_make_room_is_told(serving: Serving) -> None:
    with Http2Client(serving.port) as client:
        streams = range(1, 2 * MAX_STREAMS - 1, 2)
        client.send(*(head(stream, "hang") + b"".join(data_frames(stream, b"\0" * WINDOW)) for stream in streams))
        assert ErrorCode(client.expect_code(RST_STREAM)) is ErrorCode.ENHANCE_YOUR_CALM
        client.assert_serves(1001)


def test_more_than_the_window_of_the_connection_ends_it(serving: Serving) -> None:
    """Streams that are cut off are no way around it."""
    with Http2Client(serving.port) as client:
        client.send(head(1, "refuse"))
        client.expect(RST_STREAM, 1)
        for _ in range(100):
            client.send(*data_frames(1, b"\0" * 2**16))
        client.assert_serves(3)  # they are dropped, and their bytes granted again


def test_a_client_that_does_not_read_is_not_read_either(serving: Serving) -> None:
    opening = PREFACE + initial_window(2**30) + window_update(0, 2**30)
    with Http2Client(serving.port, opening, receive_buffer=2048) as client:
        sent, calls = 0, (call(stream, "fill", b"10000") for stream in range(1, 2_000_001, 2))
        with suppress(ConnectionError):  # it may have had enough
            while client.raw.can_send(0.5) and sent < MOST_SENT:
                sent += client.raw.socket.send(next(calls))
        assert sent < MOST_SENT
    with Http2Client(serving.port, OPENING) as other:
        other.assert_serves(1)


def test_a_window_larger_than_any_ends_the_connection_also_by_settings(client: Http2Client) -> None:
    client.send(head(1, "hang"), window_update(1, 2**31 - 1 - WINDOW), initial_window(WINDOW + 1))
    assert ErrorCode(client.expect_code(GOAWAY)) is ErrorCode.FLOW_CONTROL_ERROR
