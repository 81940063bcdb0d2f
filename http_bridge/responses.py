"""Answers: the exact JSON of success and failure (the ingest contract), and the headers that all answers carry."""

from datetime import UTC, datetime

import msgspec
from flask import Response, g, request

from server.errors import ErrorCode, IngestError, MethodNotAllowedError
from server.uuids import REQUEST_ID_HEADER, choose_request_id

JSON = "application/json"


def request_id() -> str:
    """Return the id of the present request."""
    if "request_id" not in g:
        g.request_id = choose_request_id(request.headers.get(REQUEST_ID_HEADER))
    identifier: str = g.request_id
    return identifier


def accepted(count: int) -> Response:
    """Return the answer for a batch of `count` items that is stored."""
    return Response(b'{"ok": true, "accepted": %d}' % count, 202, mimetype=JSON)


def failure(error: IngestError) -> Response:
    """Return the error envelope."""
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    envelope = {
        "success": False,
        "error": body,
        "meta": {"requestId": request_id(), "timestamp": f"{now}Z"},
    }
    response = Response(msgspec.json.encode(envelope), error.outcome.http_status, mimetype=JSON)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, MethodNotAllowedError):
        response.headers["Allow"] = error.allowed
    if error.code is ErrorCode.INVALID_API_KEY:
        # RFC 9110, 15.5.2: a 401 names the scheme that would help.
        response.headers["WWW-Authenticate"] = 'ApiKey realm="seestack", header="X-SeeStack-Key"'
    return response
