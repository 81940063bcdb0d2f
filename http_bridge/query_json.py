"""Queries in JSON: the envelope around an answer."""

from datetime import UTC, datetime

import msgspec

from server.query.answers import Answer


def encode_answer(answer: Answer, request_id: str) -> bytes:
    """Return the body of a successful answer."""
    return msgspec.json.encode({"success": True, "data": answer, "meta": meta_of(request_id)})


def meta_of(request_id: str) -> dict[str, str]:
    """Return what both envelopes say of the request: its id, and when it was answered."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return {"requestId": request_id, "timestamp": f"{now}Z"}
