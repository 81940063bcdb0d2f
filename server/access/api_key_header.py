"""Where a request carries its API key: the same names for HTTP headers and gRPC metadata."""

from collections.abc import Callable

KEY_HEADER = "x-seestack-key"
# What SDKs older than the contract send.
OLDER_KEY_HEADER = "x-allstak-key"
_BEARER = "bearer "


def find_raw_key(header: Callable[[str], str | None], *, lenient: bool) -> str:
    """Return the raw key, "" when there is none; `header` looks a lower-case name up.

    Lenient also takes the older header and `Authorization: Bearer` (RFC 6750).
    """
    raw_key = header(KEY_HEADER)
    if raw_key is None and lenient:
        raw_key = header(OLDER_KEY_HEADER)
        if raw_key is None:
            raw_key = _find_bearer(header)
    return raw_key.strip() if raw_key else ""


def find_read_key(header: Callable[[str], str | None]) -> str:
    """Return the raw key of a query, "" when there is none."""
    raw_key = header(KEY_HEADER)
    if raw_key is None:
        raw_key = _find_bearer(header)
    return raw_key.strip() if raw_key else ""


def _find_bearer(header: Callable[[str], str | None]) -> str | None:
    authorization = header("authorization") or ""
    return authorization[len(_BEARER) :] if authorization.lower().startswith(_BEARER) else None
