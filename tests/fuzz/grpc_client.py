"""Sends inputs over gRPC: messages by a real client, or whatever else an HTTP/2 connection may bring."""

import asyncio
import base64
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import grpc
import hpack

from seestack.ingest.v1.ingest_pb2 import IngestHttpRequestsResponse, StreamHttpRequestsResponse
from tests.fuzz import http2_connections as http2
from tests.fuzz.identity import RAW_KEY
from tests.fuzz.judgement import EXPECTED, UUID, problem_of_grpc
from tests.fuzz.outcome import Outcome, rows_of_message
from tests.grpc_client import SERVICE
from tests.patience import PATIENCE_S

CALLS = 32
CHANNELS = 4
STREAM_MESSAGES = 50
CONNECTIONS = 32
# How long the answer to changed frames may take.
SILENCE_S = 0.05

_METADATA = (("x-seestack-key", RAW_KEY),)
_SUCCESS = "OK"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def send_messages(port: int, messages: Sequence[bytes]) -> list[Outcome]:
    """Send each message in a unary call."""
    turns = asyncio.Semaphore(CALLS)
    channels = [_open(port, number) for number in range(CHANNELS)]
    calls: list[Any] = [channel.unary_unary(f"/{SERVICE}/IngestHttpRequests") for channel in channels]

    async def send(index: int, message: bytes) -> Outcome:
        async with turns:
            try:
                answer = await calls[index % CHANNELS](message, metadata=_METADATA, timeout=PATIENCE_S)
            except grpc.aio.AioRpcError as error:
                label, problem = problem_of_grpc(error.code(), dict(error.trailing_metadata() or ()))
                return Outcome((label,), problem=problem)
        return _accepted(message, IngestHttpRequestsResponse.FromString(answer).accepted)

    outcomes = await asyncio.gather(*(send(index, message) for index, message in enumerate(messages)))
    for channel in channels:
        await channel.close()
    return outcomes


async def send_streams(port: int, messages: Sequence[bytes]) -> list[Outcome]:
    """Send the messages in streams, several in each."""
    channels = [_open(port, number) for number in range(CHANNELS)]
    parts = [messages[start : start + STREAM_MESSAGES] for start in range(0, len(messages), STREAM_MESSAGES)]
    streams = [_send_stream(channels[index % CHANNELS], part) for index, part in enumerate(parts)]
    outcomes = await asyncio.gather(*streams)
    for channel in channels:
        await channel.close()
    return [outcome for part in outcomes for outcome in part]


async def send_calls(port: int, inputs: Sequence[bytes]) -> list[Outcome]:
    """Send each input over a connection of its own, and read until the call is answered or the server closes."""
    return await _send_connections(port, inputs, PATIENCE_S)


async def send_frames(port: int, inputs: Sequence[bytes]) -> list[Outcome]:
    """Send each input over a connection of its own, and read until nothing comes any more."""
    return await _send_connections(port, inputs, SILENCE_S)


async def _send_connections(port: int, inputs: Sequence[bytes], patience_s: float) -> list[Outcome]:
    turns = asyncio.Semaphore(CONNECTIONS)

    async def send(data: bytes) -> Outcome:
        async with turns:
            return _judge_frames(await _exchange(port, data, patience_s))

    return await asyncio.gather(*map(send, inputs))


def _open(port: int, number: int) -> grpc.aio.Channel:
    # A difference in the options gives each channel a connection of its own.
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("seestack.fuzz", number)])


async def _send_stream(channel: grpc.aio.Channel, messages: Sequence[bytes]) -> list[Outcome]:
    call: Any = channel.stream_stream(f"/{SERVICE}/StreamHttpRequests")
    outcomes: list[Outcome] = []
    try:
        async for answer in call(iter(messages), metadata=_METADATA, timeout=PATIENCE_S):
            response = StreamHttpRequestsResponse.FromString(answer)
            outcomes.append(_judge_response(messages[len(outcomes)], response, len(outcomes)))
    except grpc.aio.AioRpcError as error:
        outcomes.append(Outcome((error.code().name,), problem=f"the stream ended: {error.code()} {error.details()}"))
    missing = len(messages) - len(outcomes)
    return outcomes + [Outcome(("none",), problem="no answer")] * missing


def _judge_response(message: bytes, response: StreamHttpRequestsResponse, sequence: int) -> Outcome:
    if response.sequence != sequence:
        return Outcome(("none",), problem=f"answer {response.sequence} instead of {sequence}")
    if not response.HasField("error"):
        return _accepted(message, response.accepted)
    error = response.error
    is_right = error.code in EXPECTED and UUID.fullmatch(error.request_id)
    return Outcome((error.code,), problem=None if is_right else f"refused with {error}")


def _accepted(message: bytes, accepted: int) -> Outcome:
    rows = rows_of_message(message)
    return Outcome(
        (_SUCCESS,), accepted, rows, None if accepted == len(rows) else f"{accepted} accepted of {len(rows)}"
    )


async def _exchange(port: int, data: bytes, patience_s: float) -> bytes:
    """Send `data` and return what comes until the call is answered, or for as long as something comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    writer.write(data)
    with suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
        while not _is_answered(received):
            async with asyncio.timeout(patience_s):
                if not (chunk := await reader.read(2**16)):
                    break
            received += chunk
    writer.close()
    return received


def _frames(received: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return kind, flags, stream and payload of each whole frame."""
    frames, start = [], 0
    while start + 9 <= len(received):
        length = int.from_bytes(received[start : start + 3], "big")
        if start + 9 + length > len(received):
            break
        stream = int.from_bytes(received[start + 5 : start + 9], "big")
        frames.append((received[start + 3], received[start + 4], stream, received[start + 9 : start + 9 + length]))
        start += 9 + length
    return frames


def _is_answered(received: bytes) -> bool:
    return any(
        kind == http2.RST_STREAM or (kind == http2.HEADERS and flags & http2.END_STREAM)
        for kind, flags, _, _ in _frames(received)
    )


def _judge_frames(received: bytes) -> Outcome:
    decoder = hpack.Decoder()
    data, headers = b"", dict[str, str | bytes]()
    ended = "closed"
    for kind, flags, _, payload in _frames(received):
        if kind == http2.DATA:
            data += payload
        elif kind == http2.HEADERS:
            headers |= {_text(name): value for name, value in decoder.decode(payload, raw=True)}
            ended = "answered" if flags & http2.END_STREAM else ended
        elif kind in (http2.RST_STREAM, http2.GOAWAY) and ended != "answered":
            ended = "RST_STREAM" if kind == http2.RST_STREAM else "GOAWAY"
    if ended != "answered":
        return Outcome((ended,))
    return _judge_call(data, headers)


def _judge_call(data: bytes, headers: dict[str, str | bytes]) -> Outcome:
    http_status, grpc_status = _number(headers, ":status"), _number(headers, "grpc-status")
    if grpc_status is None:
        # What is no gRPC call at all, such as another content type, is answered as HTTP.
        return Outcome((f"HTTP {http_status}",), problem="HTTP 5xx" if (http_status or 500) >= 500 else None)
    code = _CODES[grpc_status]
    if code is grpc.StatusCode.OK:
        accepted = IngestHttpRequestsResponse.FromString(data[5:]).accepted
        return Outcome((_SUCCESS,), accepted, problem=None if "x-request-id" in headers else "OK without a request id")
    trailers = {name: _text(value) for name, value in headers.items()} | {
        name: _decode_binary(value) for name, value in headers.items() if name.endswith("-bin")
    }
    label, problem = problem_of_grpc(code, trailers)
    return Outcome((label,), problem=problem)


def _number(headers: dict[str, str | bytes], name: str) -> int | None:
    return int(headers[name]) if name in headers else None


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _decode_binary(value: str | bytes) -> bytes:
    # Padding may be left out.
    return base64.b64decode(value + (b"==" if isinstance(value, bytes) else "=="))  # type: ignore[operator]
