"""Idempotency keys: a request that is sent again with its key is stored once, and answered as the first time.

The header is the one of the IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-
header): a quoted string (RFC 9651, 3.3.3). What is not quoted is taken as it stands.
"""

import re
from uuid import UUID

from server.errors import ValidationFailedError
from storage.writing.claims import Claim, make_claim

IDEMPOTENCY_HEADER = "idempotency-key"
MAX_LENGTH = 255

_FIELD = "Idempotency-Key"
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_LENGTH}}}")
_ESCAPED = re.compile(r'\\(["\\])')


def claim_of(project_id: UUID, sent: str | None, body: bytes) -> Claim | None:
    """Return the claim of a request body that was sent with an idempotency key, None when it was sent without.

    Raises ValidationFailedError when the key is none.
    """
    if sent is None:
        return None
    key = _unquote(sent.strip())
    if not _KEY.fullmatch(key):
        raise ValidationFailedError({_FIELD: f"must be 1 to {MAX_LENGTH} printable ASCII characters"})
    return make_claim(project_id, key, body)


def key_was_reused() -> ValidationFailedError:
    """Return the error for a key that belongs to a request with another body."""
    return ValidationFailedError({_FIELD: "was used before with another body"})


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text
