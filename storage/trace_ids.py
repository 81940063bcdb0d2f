"""How a row has its trace id: the two usual forms as a uuid, which is shorter, any other as text."""

import re
from typing import NamedTuple

# 32 lower-case digits as in Trace Context, 3.2.2.3, or a UUID in lower case (RFC 9562, 4).
_SHORT = re.compile("[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DASHED_LENGTH = 36


class StoredTraceId(NamedTuple):
    """A trace id by the columns of a row: `trace`, 16 bytes, and how it was spelled, or `other_trace`."""

    trace: bytes | None
    trace_is_dashed: bool
    other_trace: str | None


def to_stored_trace_id(trace_id: str) -> StoredTraceId:
    """Return a trace id as rows have it; the same one always in the same way."""
    if not _SHORT.fullmatch(trace_id):
        return StoredTraceId(None, False, trace_id)
    return StoredTraceId(bytes.fromhex(trace_id.replace("-", "")), len(trace_id) == _DASHED_LENGTH, None)
