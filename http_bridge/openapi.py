"""The OpenAPI 3.1 document of the HTTP side, made from the same tables that the server works by."""

from collections.abc import Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from http_bridge.cors import MAX_AGE_S
from http_bridge.query_openapi import READING, SECURITY_SCHEMES, describe_answers, describe_paths
from server.contract.fields import EXAMPLE, FIELDS, Field
from server.contract.idempotency import MAX_LENGTH as MAX_KEY_LENGTH
from server.contract.validation import MAX_DETAILS, MAX_ITEMS
from server.errors import OUTCOMES, ErrorCode
from server.settings import Contract, Settings

# Under what the documentation page lists the paths, in this order; READING is between them.
SENDING: Final = "Sending"
PROBES: Final = "Probes"

_EXAMPLE_PROJECT = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
_EXAMPLE_REQUEST_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
_EXAMPLE_TIME = "2026-03-31T12:00:00.000Z"
_EXAMPLE_BATCH = {"projectId": _EXAMPLE_PROJECT, "requests": [EXAMPLE]}
_EXAMPLE_DETAILS = {
    ErrorCode.MALFORMED_REQUEST: {"body": "line 3, column 14"},
    ErrorCode.VALIDATION_ERROR: {
        "requests[0].traceId": "must not be blank",
        "requests[1].statusCode": "must not be null",
    },
}

_INGEST_ERRORS = (
    ErrorCode.MALFORMED_REQUEST,
    ErrorCode.INVALID_API_KEY,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.VALIDATION_ERROR,
    ErrorCode.RATE_LIMITED,
    ErrorCode.INTERNAL_ERROR,
    ErrorCode.SERVICE_UNAVAILABLE,
)
_QUERY_ERRORS = (
    ErrorCode.INVALID_API_KEY,
    ErrorCode.FORBIDDEN,
    ErrorCode.VALIDATION_ERROR,
    ErrorCode.RATE_LIMITED,
    ErrorCode.INTERNAL_ERROR,
    ErrorCode.SERVICE_UNAVAILABLE,
)
_RETRIED = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.SERVICE_UNAVAILABLE})
# What is refused after the request has been counted.
_COUNTED = frozenset(_INGEST_ERRORS) - {ErrorCode.INVALID_API_KEY, ErrorCode.SERVICE_UNAVAILABLE}

Schema = dict[str, Any]


def describe_api(settings: Settings) -> Schema:
    """Return the document for a server with these settings."""
    lenient = settings.contract is Contract.LENIENT
    schemes = {"ApiKeyAuth": {"type": "apiKey", "in": "header", "name": "X-SeeStack-Key"}}
    if lenient:
        schemes["OlderApiKeyAuth"] = {"type": "apiKey", "in": "header", "name": "X-AllStak-Key"}
        schemes["BearerAuth"] = {"type": "http", "scheme": "bearer"}
    has_queries = settings.query_workers > 0
    queries = describe_paths(_headers(is_counted=True), _error_responses(*_QUERY_ERRORS)) if has_queries else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SeeStack ingest",
            "version": version("seestack-ingest"),
            "description": "Takes batches of HTTP request telemetry and stores them durably. "
            "Every failure, on every path, is the error envelope.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": SENDING, "description": "Batches of requests, with a key to send."},
            *([{"name": READING, "description": "What is stored, with a key to read."}] if has_queries else []),
            {"name": PROBES, "description": "For load balancers; without a key."},
        ],
        "paths": {
            "/ingest/v1/http-requests": {
                "post": _describe_ingest(settings, schemes),
                "options": _describe_preflight(),
            },
            "/healthz": {"get": _describe_probe("Tells that the process is alive", "ok")},
            "/readyz": {
                "get": _describe_probe(
                    "Tells whether a batch could be kept now",
                    "ready",
                    ErrorCode.SERVICE_UNAVAILABLE,
                    properties={"spool": _spool_schema()},
                )
            },
            **queries,
        },
        "components": {
            "securitySchemes": {**schemes, **(SECURITY_SCHEMES if has_queries else {})},
            "schemas": {
                "Batch": _batch_schema(lenient=lenient),
                "HttpRequest": _item_schema(lenient=lenient),
                "Accepted": _accepted_schema(),
                "Error": _error_schema(),
                **(describe_answers() if has_queries else {}),
            },
            "headers": {
                "RequestId": {
                    "description": "Id of the request, the client's own when it sent a UUID; errors carry it too.",
                    "schema": {"type": "string", "format": "uuid"},
                    "required": True,
                },
                "RetryAfter": {
                    "description": "Seconds to wait before sending the same request again (RFC 9110, 10.2.3).",
                    "schema": {"type": "integer", "minimum": 1},
                    "required": True,
                },
                "RateLimitPolicy": {
                    "description": "The limits of the key, absent when it has none: `q` at once after a pause, and as "
                    "many in each further `w` seconds (draft-ietf-httpapi-ratelimit-headers).",
                    "schema": {"type": "string"},
                    "example": '"requests";q=20;w=2, "rows";q=1000;w=1',
                },
                "RateLimit": {
                    "description": "What is left under those limits: `r` now, and more in `t` seconds.",
                    "schema": {"type": "string"},
                    "example": '"requests";r=19;t=1, "rows";r=900;t=1',
                },
            },
        },
    }


def _describe_ingest(settings: Settings, schemes: Mapping[str, object]) -> Schema:
    return {
        "operationId": "ingestHttpRequests",
        "tags": [SENDING],
        "summary": "Ingest a batch of HTTP request telemetry",
        "description": "The batch is stored whole or not at all. 202 is sent once it would survive a crash of the "
        f"server. The body is limited to {settings.max_body_bytes} bytes, unpacked, and may be sent with "
        "`Content-Encoding: gzip`.",
        "security": [{name: []} for name in schemes],
        "parameters": [
            {
                "name": "X-Request-Id",
                "in": "header",
                "description": "A UUID to find this request by; anything else is ignored.",
                "schema": {"type": "string"},
            },
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "A batch that is sent again with the same key, within a day, is stored once and "
                "answered as the first time; with another body it is refused. Keys are the project's own, and quotes "
                "around them are optional. `idempotencyKey` in the body is as good; both must be the same.",
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]+$"},
                "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Batch"},
                    "examples": {"batch": {"value": _EXAMPLE_BATCH}},
                }
            },
        },
        "responses": {
            "202": {
                "description": "The batch is stored.",
                "headers": _headers(is_counted=True),
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Accepted"},
                        "examples": {"accepted": {"value": {"ok": True, "accepted": 1}}},
                    }
                },
            },
            **_error_responses(*_INGEST_ERRORS, limit=settings.max_body_bytes),
        },
    }


def _describe_preflight() -> Schema:
    return {
        "operationId": "preflightHttpRequests",
        "tags": [SENDING],
        "summary": "Answer a browser's CORS preflight",
        "description": f"Browsers may keep the answer for {MAX_AGE_S} seconds.",
        "responses": {"204": {"description": "What a page of another origin may send.", "headers": _headers()}},
    }


def _spool_schema() -> Schema:
    counts = {name: {"type": "integer", "minimum": 0} for name in ("batches", "rows", "bytes")}
    ages = {name: {"type": "number", "minimum": 0} for name in ("oldestSeconds", "stalledSeconds")}
    return {
        "description": "What waits on the server's disk for the database; absent when the spool is off.",
        "type": "object",
        "properties": {**counts, **ages},
        "required": [*counts, *ages],
    }


def _describe_probe(summary: str, status: str, *errors: ErrorCode, properties: Schema | None = None) -> Schema:
    return {
        "operationId": f"get{status.capitalize()}",
        "tags": [PROBES],
        "summary": summary,
        "responses": {
            "200": {
                "description": "It does.",
                "headers": _headers(),
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {"status": {"const": status}, **(properties or {})},
                            "required": ["status"],
                        },
                        "examples": {status: {"value": {"status": status}}},
                    }
                },
            },
            **_error_responses(*errors),
        },
    }


def _batch_schema(*, lenient: bool) -> Schema:
    return {
        "type": "object",
        "description": "Unknown fields are ignored.",
        "properties": {
            "projectId": {
                "type": ["string", "null"] if lenient else "string",
                "format": "uuid",
                "description": "The project of the API key.",
            },
            "requests": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_ITEMS,
                "items": {"$ref": "#/components/schemas/HttpRequest"},
            },
            "idempotencyKey": {
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": MAX_KEY_LENGTH,
                "pattern": "^[ -~]+$",
                "description": "As good as the header `Idempotency-Key`; where both are sent, they must be the same.",
            },
        },
        "required": ["requests"] if lenient else ["projectId", "requests"],
    }


def _item_schema(*, lenient: bool) -> Schema:
    optional = {field for field in FIELDS if not field.rule.required or (lenient and field.lenient_default is not None)}
    return {
        "type": "object",
        "description": "One HTTP request. Unknown fields are ignored.",
        "properties": {field.json_name: _field_schema(field, optional=field in optional) for field in FIELDS},
        "required": [field.json_name for field in FIELDS if field not in optional],
    }


def _field_schema(field: Field, *, optional: bool) -> Schema:
    schema: Schema = {"description": field.description, **field.rule.schema}
    if optional:
        schema["type"] = [schema["type"], "null"]
    return schema


def _accepted_schema() -> Schema:
    return {
        "type": "object",
        "properties": {
            "ok": {"const": True},
            "accepted": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_ITEMS,
                "description": "Items now stored durably: all of the batch.",
            },
        },
        "required": ["ok", "accepted"],
        "additionalProperties": False,
    }


def _error_schema() -> Schema:
    return {
        "type": "object",
        "properties": {
            "success": {"const": False},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "enum": [code.value for code in OUTCOMES]},
                    "message": {"type": "string"},
                    "details": {
                        "type": "object",
                        "description": "Messages by the path of the violated field, e.g. `requests[0].traceId`; "
                        "for broken JSON, the position of the error under `body`.",
                        "additionalProperties": {"type": "string"},
                        "minProperties": 1,
                        "maxProperties": MAX_DETAILS,
                    },
                },
                "required": ["code", "message"],
                "additionalProperties": False,
            },
            "meta": {
                "type": "object",
                "properties": {
                    "requestId": {"type": "string", "format": "uuid"},
                    "timestamp": {"type": "string", "format": "date-time"},
                },
                "required": ["requestId", "timestamp"],
                "additionalProperties": False,
            },
        },
        "required": ["success", "error", "meta"],
        "additionalProperties": False,
    }


def _error_responses(*codes: ErrorCode, limit: int = 0) -> Schema:
    return {str(OUTCOMES[code].http_status): _error_response(code, limit) for code in codes}


def _error_response(code: ErrorCode, limit: int) -> Schema:
    outcome = OUTCOMES[code]
    is_too_large = code is ErrorCode.PAYLOAD_TOO_LARGE
    error: dict[str, object] = {
        "code": code.value,
        "message": f"Request body exceeds {limit} bytes" if is_too_large else outcome.message,
    }
    if code in _EXAMPLE_DETAILS:
        error["details"] = _EXAMPLE_DETAILS[code]
    meta = {"requestId": _EXAMPLE_REQUEST_ID, "timestamp": _EXAMPLE_TIME}
    return {
        "description": HTTPStatus(outcome.http_status).phrase,
        "headers": _headers(may_retry=code in _RETRIED, is_counted=code in _COUNTED),
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Error"},
                "examples": {code.value: {"value": {"success": False, "error": error, "meta": meta}}},
            }
        },
    }


def _headers(*, may_retry: bool = False, is_counted: bool = False) -> Schema:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    if may_retry:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    if is_counted:
        headers["RateLimit-Policy"] = {"$ref": "#/components/headers/RateLimitPolicy"}
        headers["RateLimit"] = {"$ref": "#/components/headers/RateLimit"}
    return headers
