"""Idempotency keys: a request that is sent again with its key is stored once, and answered as the first time.

The header is the one of the IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-
header): a quoted string (RFC 9651, 3.3.3). What is not quoted is taken as it stands.
"""

import re
from uuid import UUID

from server.contract.batch import IDEMPOTENCY_FIELD
from server.errors import ValidationFailedError
from storage.writing.claims import Claim, make_claim

IDEMPOTENCY_HEADER = "idempotency-key"
MAX_LENGTH = 255

_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_LENGTH}}}")
_ESCAPED = re.compile(r'\\(["\\])')


def claim_of(project_id: UUID, header: str | None, field: object, body: bytes) -> Claim | None:
    """Return the claim of a request body, None when it was sent without an idempotency key.

    The key comes in a header or in a field of the body; either will do. Raises ValidationFailedError when it is none,
    and when both are there and differ.
    """
    sent = field if header is None else header
    if sent is None:
        return None
    if not isinstance(sent, str) or not isinstance(field, str | None):
        raise ValidationFailedError({IDEMPOTENCY_FIELD: "must be a string"})
    key = _unquote(sent)
    if field is not None and _unquote(field) != key:
        raise ValidationFailedError({IDEMPOTENCY_FIELD: f"must match the header {IDEMPOTENCY_HEADER}"})
    if not _KEY.fullmatch(key):
        raise ValidationFailedError({IDEMPOTENCY_FIELD: f"must be 1 to {MAX_LENGTH} printable ASCII characters"})
    return make_claim(project_id, key, body)


def _unquote(sent: str) -> str:
    text = sent.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text
