"""UUIDs in text form, and the request ids that tie an answer to its line in the log."""

import random
import re
from functools import lru_cache
from uuid import UUID

REQUEST_ID_HEADER = "x-request-id"

# Ids must be unique, not secret; a system call a request would cost more than all the rest of it.
_random = random.Random()  # noqa: S311
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_VERSION_4_AND_VARIANT = 0x4 << 76 | 0b10 << 62
_RANDOM_BITS = (1 << 128) - 1 ^ (0xF << 76 | 0b11 << 62)


def parse_uuid(text: str) -> UUID | None:
    """Return the UUID that `text` is in the 36-character form (RFC 9562, 4), None when it is none."""
    return _parse(text) if _UUID.fullmatch(text) else None


@lru_cache(1024)
def _parse(text: str) -> UUID:
    return UUID(text)


def choose_request_id(sent: str | None) -> str:
    """Return the client's id when it is a UUID, else a new one (version 4)."""
    if sent is not None and _UUID.fullmatch(sent):
        return sent
    digits = f"{_random.getrandbits(128) & _RANDOM_BITS | _VERSION_4_AND_VARIANT:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
