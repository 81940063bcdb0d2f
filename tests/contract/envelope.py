"""The error envelope, as every failure must have it."""

import re

from tests.running_server import Answer

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def assert_envelope(
    answer: Answer, status: int, code: str, message: str, details: dict[str, str] | None = None
) -> None:
    """Check that an answer is the envelope of this error and nothing else."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    envelope = answer.json
    meta = envelope.pop("meta")
    error = {"code": code, "message": message} | ({} if details is None else {"details": details})
    assert envelope == {"success": False, "error": error}
    assert set(meta) == {"requestId", "timestamp"}
    assert UUID.fullmatch(meta["requestId"])
    assert TIMESTAMP.fullmatch(meta["timestamp"])
    assert answer.headers["x-request-id"] == meta["requestId"]
