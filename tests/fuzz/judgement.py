"""What an answer to an input must be like, whatever the input was."""

import json
import re
from collections.abc import Mapping

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status

from server.errors import OUTCOMES, ErrorCode
from tests.contract.envelope import TIMESTAMP

STATUS_DETAILS = "grpc-status-details-bin"
# Successes, apart from 202: of pages, of preflights, and of pages that have not changed.
OTHER_SUCCESSES = {200, 204, 304}
# What the server itself may say in the face of hostile input; never INTERNAL_ERROR, nor that it is busy or away.
EXPECTED = set(ErrorCode) - {ErrorCode.INTERNAL_ERROR, ErrorCode.SERVICE_UNAVAILABLE}
# What gRPC itself ends calls with which are none that it could hand on.
STATUSES_OF_GRPC = {
    grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND,  # the health service, of services that it does not know
}  # fmt: skip
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def problem_of_http(status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Return what is wrong with an HTTP answer to any input at all; `body` is empty for HEAD."""
    request_id = headers.get("x-request-id", "")
    if not UUID.fullmatch(request_id):
        return f"{status} without a request id"
    if status in OTHER_SUCCESSES:
        return None
    if status == 202:
        return None if re.fullmatch(rb'\{"ok": true, "accepted": \d+\}', body) else f"202 with {body[:200]!r}"
    if not body:
        return None if status < 500 else f"{status} without a body"
    return _problem_of_envelope(status, request_id, body)


def problem_of_grpc(code: grpc.StatusCode, trailers: Mapping[str, str | bytes]) -> tuple[str, str | None]:
    """Return what a failed call is to be counted as, and what is wrong with it."""
    try:
        status = Status.FromString(bytes(trailers.get(STATUS_DETAILS, b"")))  # type: ignore[arg-type]
    except (DecodeError, TypeError) as error:
        return code.name, f"{code.name} with details that cannot be read: {error}"
    reasons, request_ids = [], []
    for detail in status.details:
        info, request = ErrorInfo(), RequestInfo()
        if detail.Unpack(info):
            reasons.append(info.reason)
        elif detail.Unpack(request):
            request_ids.append(request.request_id)
    if not reasons:
        return f"{code.name} (gRPC)", None if code in STATUSES_OF_GRPC else f"{code.name} without ErrorInfo"
    label = reasons[0]
    if label not in EXPECTED or OUTCOMES[ErrorCode(label)].grpc_status.name != code.name:
        return label, f"{code.name} because of {label}"
    if request_ids != [trailers.get("x-request-id")]:
        return label, f"{code.name} with request ids {request_ids} and {trailers.get('x-request-id')!r}"
    return label, None


def _problem_of_envelope(status: int, request_id: str, body: bytes) -> str | None:
    try:
        envelope = json.loads(body)
        error, meta = envelope["error"], envelope["meta"]
        is_right = (
            set(envelope) == {"success", "error", "meta"}
            and envelope["success"] is False
            and set(error) - {"details"} == {"code", "message"}
            and error["code"] in EXPECTED
            and OUTCOMES[ErrorCode(error["code"])].http_status == status
            and all(map(str.isprintable, error["message"]))
            and 0 < len(error.get("details", {"": ""})) <= 100
            and meta.keys() == {"requestId", "timestamp"}
            and meta["requestId"] == request_id
            and TIMESTAMP.fullmatch(meta["timestamp"])
        )
    except (ValueError, KeyError, TypeError, AttributeError) as failure:
        return f"{status} that is no envelope ({failure!r}): {body[:200]!r}"
    return None if is_right else f"{status} that is a wrong envelope: {body[:500]!r}"
