"""The headers for a key's limits (draft-ietf-httpapi-ratelimit-headers), in the form of RFC 9651."""

from math import ceil

from server.access.rate_limits import Usage
from server.access.token_buckets import Bucket
from storage.keys.limits import RateLimit


def rate_limit_headers(usage: Usage) -> dict[str, str]:
    """Return the limits of a key, and what is left under those that were applied to the request."""
    limits = ((Bucket.REQUESTS, usage.limits.requests), (Bucket.ROWS, usage.limits.rows))
    headers = {"RateLimit-Policy": ", ".join(_policy(bucket, limit) for bucket, limit in limits if limit is not None)}
    if usage.levels:
        headers["RateLimit"] = ", ".join(
            f"{_name(bucket)};r={left};t={ceil(seconds)}" for bucket, left, seconds in usage.levels
        )
    return headers


def _policy(bucket: Bucket, limit: RateLimit) -> str:
    return f"{_name(bucket)};q={limit.burst};w={ceil(limit.burst / limit.per_second)}"


def _name(bucket: Bucket) -> str:
    return f'"{bucket.name.lower()}"'
