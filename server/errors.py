"""Every error a caller can get, and the one table of its status on either protocol (the ingest contract)."""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import NamedTuple

from server.contract.batch import IDEMPOTENCY_FIELD
from storage.errors import (
    IdempotencyKeyReusedError,
    QueryTooLongError,
    StorageUnavailableError,
    WriterOverloadedError,
)

RETRY_AFTER_S = 1


class ErrorCode(StrEnum):
    """Machine-readable codes: `error.code` (HTTP) and `ErrorInfo.reason` (gRPC)."""

    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    INVALID_API_KEY = "INVALID_API_KEY"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    RATE_LIMITED = "RATE_LIMITED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"


class GrpcStatus(IntEnum):
    """Status codes of gRPC, by the names and numbers that they have there; workers do without the library."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Outcome(NamedTuple):
    """What the caller gets for an error."""

    http_status: int
    grpc_status: GrpcStatus
    message: str


OUTCOMES: Mapping[ErrorCode, Outcome] = MappingProxyType(
    {
        ErrorCode.MALFORMED_REQUEST: Outcome(400, GrpcStatus.INTERNAL, "Request body is not valid JSON"),
        ErrorCode.INVALID_API_KEY: Outcome(401, GrpcStatus.UNAUTHENTICATED, "Invalid or missing API key"),
        ErrorCode.FORBIDDEN: Outcome(403, GrpcStatus.PERMISSION_DENIED, "This key may not read"),
        ErrorCode.NOT_FOUND: Outcome(404, GrpcStatus.UNIMPLEMENTED, "Not found"),
        ErrorCode.METHOD_NOT_ALLOWED: Outcome(405, GrpcStatus.UNIMPLEMENTED, "Method not allowed"),
        ErrorCode.PAYLOAD_TOO_LARGE: Outcome(413, GrpcStatus.RESOURCE_EXHAUSTED, "Request body is too large"),
        ErrorCode.UNSUPPORTED_MEDIA_TYPE: Outcome(
            415, GrpcStatus.UNIMPLEMENTED, "Content-Type must be application/json"
        ),
        ErrorCode.VALIDATION_ERROR: Outcome(422, GrpcStatus.INVALID_ARGUMENT, "Validation failed"),
        ErrorCode.RATE_LIMITED: Outcome(429, GrpcStatus.RESOURCE_EXHAUSTED, "Too many requests"),
        ErrorCode.INTERNAL_ERROR: Outcome(500, GrpcStatus.INTERNAL, "An unexpected error occurred"),
        ErrorCode.SERVICE_UNAVAILABLE: Outcome(503, GrpcStatus.UNAVAILABLE, "The service is temporarily unavailable"),
    }
)


class IngestError(Exception):
    """A request is refused. Subclasses name the reason; the protocols render it from OUTCOMES."""

    code = ErrorCode.INTERNAL_ERROR
    retry_after_s: float | None = None

    def __init__(self, message: str | None = None, details: Mapping[str, str] | None = None) -> None:
        self.message = message or OUTCOMES[self.code].message
        self.details = details or {}
        super().__init__(self.message)

    @property
    def outcome(self) -> Outcome:
        """The statuses of this error."""
        return OUTCOMES[self.code]


class MalformedRequestError(IngestError):
    """The body cannot be decoded."""

    code = ErrorCode.MALFORMED_REQUEST


class BodyCutOffError(MalformedRequestError):
    """The client has left in the middle of the body. It may have ended its own side only, and still read the answer."""

    def __init__(self) -> None:
        super().__init__("Request body is cut off")


class InvalidApiKeyError(IngestError):
    """The key is missing, blank, unknown, expired, revoked, or not for this; the caller is not told which."""

    code = ErrorCode.INVALID_API_KEY


class ForbiddenError(IngestError):
    """The key is valid, but not for reading, or not for that project."""

    code = ErrorCode.FORBIDDEN


class PathNotFoundError(IngestError):
    """There is nothing at that path."""

    code = ErrorCode.NOT_FOUND


class MethodNotAllowedError(IngestError):
    """The path exists, the method does not. `allowed` goes into the Allow header (RFC 9110, 10.2.1)."""

    code = ErrorCode.METHOD_NOT_ALLOWED

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__()


class PayloadTooLargeError(IngestError):
    """The body exceeds `limit` bytes, as sent or as unpacked."""

    code = ErrorCode.PAYLOAD_TOO_LARGE

    def __init__(self, limit: int) -> None:
        super().__init__(f"Request body exceeds {limit} bytes")


class UnsupportedMediaTypeError(IngestError):
    """The body's media type or encoding is not one that is understood."""

    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE


class ValidationFailedError(IngestError):
    """Fields break rules; `details` maps field paths to messages."""

    code = ErrorCode.VALIDATION_ERROR

    def __init__(self, details: Mapping[str, str]) -> None:
        super().__init__(details=details)


class RateLimitedError(IngestError):
    """The key's limits allow no more now; the same request may pass after `retry_after_s` seconds."""

    code = ErrorCode.RATE_LIMITED

    def __init__(self, advice: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{OUTCOMES[self.code].message}: {advice}")


class ServiceUnavailableError(IngestError):
    """The batch cannot be stored now; the same request may succeed after `retry_after_s` seconds."""

    code = ErrorCode.SERVICE_UNAVAILABLE
    retry_after_s = RETRY_AFTER_S


def explain(error: Exception) -> IngestError:
    """Map an error to what the caller is told; an unexpected one becomes the cause of an INTERNAL_ERROR."""
    match error:
        case IngestError():
            return error
        case StorageUnavailableError() | WriterOverloadedError():
            return ServiceUnavailableError()
        case IdempotencyKeyReusedError():
            return ValidationFailedError({IDEMPOTENCY_FIELD: "was used before with another body"})
        case QueryTooLongError():
            return ValidationFailedError(
                {"from": "is too long ago: there are too many rows; narrow the range or filter"}
            )
    unexpected = IngestError()
    unexpected.__cause__ = error
    return unexpected
