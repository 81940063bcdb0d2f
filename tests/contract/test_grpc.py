"""What is special about the gRPC side: reflection, health, sizes, request ids, and long streams."""

import json
import queue
import shutil
import subprocess
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from seestack.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from tests.batches import make_batch
from tests.grpc_client import SERVICE, ReflectingClient, Refusal
from tests.patience import PATIENCE_S
from tests.running_server import RunningServer

LIMIT = 2**20


def test_reflection_lists_the_services(server: RunningServer) -> None:
    services = set(ProtoReflectionDescriptorDatabase(server.channel()).get_services())
    assert {SERVICE, "grpc.health.v1.Health"} <= services


def test_reflection_finds_methods_by_their_full_names(server: RunningServer) -> None:
    database = ProtoReflectionDescriptorDatabase(server.channel())
    found = database.FindFileContainingSymbol(f"{SERVICE}.IngestHttpRequests")
    assert found.name == "seestack/ingest/v1/ingest.proto"


def test_reflection_says_the_names_of_fields_in_json(server: RunningServer) -> None:
    file = ProtoReflectionDescriptorDatabase(server.channel()).FindFileContainingSymbol(SERVICE)
    names = {field.name: field.json_name for message in file.message_type for field in message.field}
    assert (names["trace_id"], names["project_id"], names["ok"]) == ("traceId", "projectId", "ok")


@pytest.mark.parametrize("name", ["", SERVICE])
def test_health_says_serving(server: RunningServer, name: str) -> None:
    stub: Any = health_pb2_grpc.HealthStub(server.channel())
    response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE_S)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_the_generated_stubs_work(server: RunningServer, metadata: dict[str, str]) -> None:
    stub = ingest_pb2_grpc.IngestServiceStub(server.channel())
    request = ingest_pb2.IngestHttpRequestsRequest(project_id=server.project_id)
    item = request.requests.add(
        trace_id="t", direction="inbound", method="GET", host="h", path="/", status_code=0, duration_ms=0,
        request_size=0, response_size=0,
    )  # fmt: skip
    item.timestamp.GetCurrentTime()
    response = stub.IngestHttpRequests(request, metadata=tuple(metadata.items()), timeout=PATIENCE_S)
    assert (response.ok, response.accepted) == (True, 1)


@pytest.mark.parametrize("nanos", [-1, 10**9])
def test_a_timestamp_out_of_range_is_refused(
    server: RunningServer, client: ReflectingClient, metadata: dict[str, str], nanos: int
) -> None:
    request = ingest_pb2.IngestHttpRequestsRequest.FromString(client.encode(make_batch(server.project_id)))
    request.requests[0].timestamp.nanos = nanos
    with pytest.raises(Refusal) as raised:
        client.ingest_bytes(request.SerializeToString(), metadata)
    assert raised.value.violations == {"requests[0].timestamp": "must be a valid ISO-8601 date-time"}


@pytest.mark.parametrize("data", [b"\xff", b"\x12\x05abc", b"\x0a\x01\xff", b"\x12\x03\x0a\x01\xff"])
def test_what_is_no_message_is_refused(client: ReflectingClient, metadata: dict[str, str], data: bytes) -> None:
    with pytest.raises(Refusal) as raised:
        client.ingest_bytes(data, metadata)
    assert (raised.value.status, raised.value.reason) == (grpc.StatusCode.INTERNAL, "MALFORMED_REQUEST")


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT])
def test_a_large_message_is_refused(client: ReflectingClient, metadata: dict[str, str], size: int) -> None:
    with pytest.raises(Refusal) as raised:
        client.ingest_bytes(b"\0" * size, metadata)
    assert (raised.value.status, raised.value.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "PAYLOAD_TOO_LARGE")
    assert raised.value.message == f"Request body exceeds {LIMIT} bytes"


def test_a_huge_message_is_refused_unread(client: ReflectingClient, metadata: dict[str, str]) -> None:
    with pytest.raises(Refusal) as raised:
        client.ingest_bytes(b"\0" * (10 * LIMIT), metadata)
    assert raised.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_large_message_in_a_stream_does_not_end_it(
    server: RunningServer, client: ReflectingClient, metadata: dict[str, str]
) -> None:
    large = make_batch(server.project_id, 100, path="/" + "x" * 20_000)
    first, second = client.stream([large, make_batch(server.project_id)], metadata)
    assert first["error"]["code"] == "PAYLOAD_TOO_LARGE"
    assert second["accepted"] == 1


def test_errors_carry_the_request_id(client: ReflectingClient, metadata: dict[str, str]) -> None:
    sent = str(uuid4())
    for given, expected in ((sent, sent), ("no-uuid", None)):
        with pytest.raises(Refusal) as raised:
            client.ingest({}, metadata | {"x-request-id": given})
        assert raised.value.request_id is not None
        assert UUID(raised.value.request_id)
        assert raised.value.request_id == expected or expected is None
        (response,) = client.stream([{}], metadata | {"x-request-id": given})
        assert response["error"]["requestId"] == expected or expected is None


def test_success_carries_the_request_id(server: RunningServer, metadata: dict[str, str]) -> None:
    sent = str(uuid4())
    channel = server.channel()
    call: Any = channel.unary_unary(f"/{SERVICE}/IngestHttpRequests")
    data = ReflectingClient(channel).encode(make_batch(server.project_id))
    _, done = call.with_call(data, metadata=(*metadata.items(), ("x-request-id", sent)), timeout=PATIENCE_S)
    assert dict(done.trailing_metadata())["x-request-id"] == sent


def test_an_unknown_method_is_unimplemented(server: RunningServer) -> None:
    call: Any = server.channel().unary_unary(f"/{SERVICE}/Nothing")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", timeout=PATIENCE_S)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_long_stream_is_answered_in_order(
    server: RunningServer, client: ReflectingClient, metadata: dict[str, str]
) -> None:
    batches = [make_batch(server.project_id, 1 + index % 5) for index in range(500)]
    responses = client.stream(batches, metadata)
    assert [int(response["sequence"]) for response in responses] == list(range(500))
    assert [response["accepted"] for response in responses] == [len(batch["requests"]) for batch in batches]


def test_a_stream_answers_before_its_client_is_done_sending(server: RunningServer, metadata: dict[str, str]) -> None:
    channel = server.channel()
    client = ReflectingClient(channel)
    call: Any = channel.stream_stream(
        f"/{SERVICE}/StreamHttpRequests",
        response_deserializer=ingest_pb2.StreamHttpRequestsResponse.FromString,
    )
    to_send: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    responses = call(iter(to_send.get, None), metadata=tuple(metadata.items()), timeout=PATIENCE_S)
    for _ in range(3):
        to_send.put(client.encode(make_batch(server.project_id)))
        assert next(responses).accepted == 1
    to_send.put(None)
    assert list(responses) == []


grpcurl = pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not on the PATH")


def run_grpcurl(server: RunningServer, *arguments: str, body: str = "") -> "subprocess.CompletedProcess[str]":
    command = ["grpcurl", "-plaintext", "-H", f"x-seestack-key: {server.api_key}", *arguments]
    return subprocess.run(command, input=body, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@grpcurl
def test_grpcurl_sends_the_documents_own_body(server: RunningServer) -> None:
    body = json.dumps(make_batch(server.project_id, 2))
    done = run_grpcurl(server, "-d", body, f"127.0.0.1:{server.grpc_port}", f"{SERVICE}/IngestHttpRequests")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"ok": True, "accepted": 2}


@grpcurl
def test_grpcurl_streams_lines(server: RunningServer) -> None:
    lines = "\n".join(json.dumps(make_batch(server.project_id, 2)) for _ in range(20))
    target = f"127.0.0.1:{server.grpc_port}"
    done = run_grpcurl(server, "-d", "@", target, f"{SERVICE}/StreamHttpRequests", body=lines)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"accepted": 2') == 20


@grpcurl
def test_grpcurl_describes_the_service(server: RunningServer) -> None:
    done = run_grpcurl(server, f"127.0.0.1:{server.grpc_port}", "describe", SERVICE)
    assert done.returncode == 0, done.stderr
    assert "rpc StreamHttpRequests" in done.stdout
