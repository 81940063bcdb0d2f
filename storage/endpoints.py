"""Endpoints: paths whose ids are placeholders, so that `/orders/123` and `/orders/456` are both `/orders/{id}`.

One pattern says what an id is. Python's `re` and Postgres' regular expressions both read it, and read it alike.
"""

import re
from functools import lru_cache

PLACEHOLDER = "{id}"
# What an endpoint is counted under once there are too many of them.
OTHER = "{other}"
# Longer paths are not kept in the cache, which holds a few MiB then.
MAX_CACHED_LENGTH = 200

_ID = "|".join(
    (
        "[0-9]+",
        "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",  # UUID (RFC 9562)
        "(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{8,}",  # hexadecimal, but no word such as "defaced"
        # Like base64: letters of both cases and a digit, or four digits at least (ULIDs, "inv_20261126_0042").
        "(?=[^/]*[0-9])(?=[^/]*[a-z])(?=[^/]*[A-Z])[0-9A-Za-z_-]{16,}=?=?",
        "(?=([^0-9/]*[0-9]){4})[0-9A-Za-z_-]{16,}=?=?",
        r"\{id\}",
    )
)
_SEGMENT_OF_ID = re.compile(rf"(?<![^/])(?:{_ID})(?![^/])")
_LIKE = re.compile(r"[\\%_]")


def endpoint_of(path: str) -> str:
    """Return the endpoint of a path: each segment that is an id becomes `{id}`. An endpoint is its own endpoint."""
    return _cached_endpoint_of(path) if len(path) <= MAX_CACHED_LENGTH else _endpoint_of(path)


def pattern_of(endpoint: str) -> str:
    """Return the regular expression of Postgres for all paths whose endpoint is `endpoint`, which must be one."""
    segments = (f"({_ID})" if segment == PLACEHOLDER else re.escape(segment) for segment in endpoint.split("/"))
    return f"^{'/'.join(segments)}$"


def like_pattern_of(endpoint: str) -> str:
    """Return a pattern of LIKE for those paths and some more: it is tried first, since it is far cheaper."""
    return "/".join(
        "%" if segment == PLACEHOLDER else _LIKE.sub(r"\\\g<0>", segment) for segment in endpoint.split("/")
    )


def _endpoint_of(path: str) -> str:
    return _SEGMENT_OF_ID.sub(PLACEHOLDER, path)


_cached_endpoint_of = lru_cache(16_384)(_endpoint_of)
