"""All kinds of inputs, and which share of a run each has."""

from collections.abc import Awaitable, Callable, Sequence

from tests.fuzz import grpc_client, http_client
from tests.fuzz.campaign import Target
from tests.fuzz.http2_connections import make_frames, make_metadata_call
from tests.fuzz.http_connections import make_connection
from tests.fuzz.json_bodies import make_body
from tests.fuzz.messages import make_message
from tests.fuzz.outcome import Outcome
from tests.running_server import RunningServer

Send = Callable[[int, Sequence[bytes]], Awaitable[list[Outcome]]]


def _http(send: Send) -> Callable[[RunningServer, Sequence[bytes]], Awaitable[list[Outcome]]]:
    return lambda server, inputs: send(server.http_port, inputs)


def _grpc(send: Send) -> Callable[[RunningServer, Sequence[bytes]], Awaitable[list[Outcome]]]:
    return lambda server, inputs: send(server.grpc_port, inputs)


SHARES = {
    Target("json", make_body, _http(http_client.send_bodies)): 0.4,
    Target("http", make_connection, _http(http_client.send_connections)): 0.2,
    Target("protobuf", make_message, _grpc(grpc_client.send_messages)): 0.15,
    Target("stream", make_message, _grpc(grpc_client.send_streams)): 0.15,
    Target("metadata", make_metadata_call, _grpc(grpc_client.send_calls)): 0.05,
    Target("frames", make_frames, _grpc(grpc_client.send_frames)): 0.05,
}
TARGETS = {target.name: target for target in SHARES}
