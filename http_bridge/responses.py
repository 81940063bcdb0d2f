"""Answers: the exact JSON of success and failure (the ingest contract)."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import NamedTuple

import msgspec

from http_bridge.http1.response_encoding import encode_response
from http_bridge.query_json import meta_of
from server.contract.identifiers import REQUEST_ID_HEADER, choose_request_id
from server.errors import ErrorCode, IngestError, MethodNotAllowedError
from storage.spool.spool import SpoolStatus

_JSON = {"Content-Type": "application/json"}
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_ACCEPTED = _STATUS_LINES[HTTPStatus.ACCEPTED]


class Answer(NamedTuple):
    """An answer in the terms of WSGI."""

    status: str
    headers: Mapping[str, str]
    body: bytes


def accepted(count: int) -> Answer:
    """Return the answer for a batch of `count` items that is stored."""
    return Answer(_ACCEPTED, _JSON, b'{"ok": true, "accepted": %d}' % count)


def readiness(spool: SpoolStatus | None) -> dict[str, object]:
    """Return the body for a server that can keep batches, with what waits in its spool when it has one."""
    if spool is None:
        return {"status": "ready"}
    depth = {"batches": spool.batches, "rows": spool.rows, "bytes": spool.size_bytes}
    ages = {"oldestSeconds": round(spool.oldest_age_s, 3), "stalledSeconds": round(spool.stalled_s, 3)}
    return {"status": "ready", "spool": {**depth, **ages}}


def failure(error: IngestError, identifier: str) -> Answer:
    """Return the error envelope of the request with that id."""
    headers = _JSON | _headers_of(error)
    return Answer(_STATUS_LINES[error.outcome.http_status], headers, _envelope(error, identifier))


def refusal(error: IngestError, identifier: str | None = None) -> bytes:
    """Return the error envelope as a whole answer, the last of its connection, to what was no request.

    `identifier` is its request id, a new one when there is none.
    """
    identifier = choose_request_id(identifier)
    status, headers, body = failure(error, identifier)
    return encode_response(status, [*headers.items(), (REQUEST_ID_HEADER, identifier)], body, is_last=True)


def _headers_of(error: IngestError) -> dict[str, str]:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(ceil(error.retry_after_s))
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = error.allowed
    if error.code is ErrorCode.INVALID_API_KEY:
        # RFC 9110, 15.5.2: a 401 names the scheme that would help.
        headers["WWW-Authenticate"] = 'ApiKey realm="seestack", header="X-SeeStack-Key"'
    return headers


def _envelope(error: IngestError, identifier: str) -> bytes:
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    return msgspec.json.encode({"success": False, "error": body, "meta": meta_of(identifier)})
