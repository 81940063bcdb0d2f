"""UUIDs in text form, and the request ids that tie an answer to its line in the log."""

import random
import re
import uuid

REQUEST_ID_HEADER = "x-request-id"

# Ids must be unique, not secret; a system call a request would also hand the interpreter to another thread.
_random = random.Random()  # noqa: S311
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def is_uuid(text: str) -> bool:
    """Tell whether `text` is a UUID in its 36-character form (RFC 9562, 4)."""
    return _UUID.fullmatch(text) is not None


def choose_request_id(sent: str | None) -> str:
    """Return the client's id when it is a UUID, else a new one."""
    return sent if sent is not None and is_uuid(sent) else str(uuid.UUID(int=_random.getrandbits(128), version=4))
