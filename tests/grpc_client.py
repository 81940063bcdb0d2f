"""A gRPC client that knows the service through reflection alone, as grpcurl does: JSON in, JSON out, no stubs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from tests.patience import PATIENCE_S

SERVICE = "seestack.ingest.v1.IngestService"


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818
    """What a failed call told: its status, and its google.rpc details as far as they came."""

    status: grpc.StatusCode
    message: str
    reason: str | None
    domain: str | None
    request_id: str | None
    violations: dict[str, str]
    retry_after_s: float | None


class ReflectingClient:
    """Calls the ingest service over a channel, by what the server says of itself."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self._methods = self._pool.FindServiceByName(SERVICE).methods_by_name

    def ingest(self, body: dict[str, Any], metadata: dict[str, str], timeout: float = PATIENCE_S) -> dict[str, Any]:
        """Call the unary method. Raises Refusal."""
        method, request_class, response_class = self._method("IngestHttpRequests")
        call = self._channel.unary_unary(method, request_class.SerializeToString, response_class.FromString)
        request = ParseDict(body, request_class())
        return _call(call, request, metadata, timeout)

    def ingest_bytes(self, data: bytes, metadata: dict[str, str]) -> dict[str, Any]:
        """Call the unary method with a message that is encoded already, rightly or not. Raises Refusal."""
        method, _, response_class = self._method("IngestHttpRequests")
        call: Any = self._channel.unary_unary(method, None, response_class.FromString)
        return _call(call, data, metadata, PATIENCE_S)

    def stream(self, bodies: Iterable[dict[str, Any]], metadata: dict[str, str]) -> list[dict[str, Any]]:
        """Call the streaming method with all of `bodies` and return all responses. Raises Refusal."""
        method, request_class, response_class = self._method("StreamHttpRequests")
        call = self._channel.stream_stream(method, request_class.SerializeToString, response_class.FromString)
        requests = (ParseDict(body, request_class()) for body in bodies)
        try:
            responses = list(call(requests, timeout=PATIENCE_S, metadata=tuple(metadata.items())))
        except grpc.RpcError as error:
            raise refusal_of(error) from error
        return [MessageToDict(response, always_print_fields_with_no_presence=True) for response in responses]

    def encode(self, body: dict[str, Any]) -> bytes:
        """Return a batch as an encoded message."""
        _, request_class, _ = self._method("IngestHttpRequests")
        return ParseDict(body, request_class()).SerializeToString()

    def _method(self, name: str) -> tuple[str, type[Message], type[Message]]:
        method = self._methods[name]
        return f"/{SERVICE}/{name}", GetMessageClass(method.input_type), GetMessageClass(method.output_type)


def _call(call: Any, request: Message | bytes, metadata: dict[str, str], timeout: float) -> dict[str, Any]:
    try:
        response: Message = call(request, timeout=timeout, metadata=tuple(metadata.items()))
    except grpc.RpcError as error:
        raise refusal_of(error) from error
    return MessageToDict(response)


def refusal_of(error: Any) -> Refusal:
    """Unpack a failed call's status."""
    details: dict[str, Any] = {}
    status = rpc_status.from_call(error)
    for packed in status.details if status is not None else ():
        for kind in ("ErrorInfo", "RequestInfo", "BadRequest", "RetryInfo"):
            message = getattr(error_details_pb2, kind)()
            if packed.Unpack(message):
                details[kind] = message
    retry_info = details.get("RetryInfo")
    violations = details["BadRequest"].field_violations if "BadRequest" in details else ()
    return Refusal(
        status=error.code(),
        message=error.details() or "",
        reason=details["ErrorInfo"].reason if "ErrorInfo" in details else None,
        domain=details["ErrorInfo"].domain if "ErrorInfo" in details else None,
        request_id=details["RequestInfo"].request_id if "RequestInfo" in details else None,
        violations={violation.field: violation.description for violation in violations},
        retry_after_s=retry_info.retry_delay.ToTimedelta().total_seconds() if retry_info is not None else None,
    )
