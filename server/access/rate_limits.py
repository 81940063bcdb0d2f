"""The limits of API keys: what a request takes from them, and what is left."""

from math import ceil
from typing import NamedTuple

from server.access.token_buckets import Bucket, Buckets
from server.errors import RateLimitedError
from storage.keys.api_keys import ApiKey
from storage.keys.limits import KeyLimits, RateLimit

_SECOND_NS = 1_000_000_000


class Level(NamedTuple):
    """What is left under one limit, and for how many seconds.

    After them there is enough for what was just refused, or else a full burst.
    """

    bucket: Bucket
    left: int
    seconds: float


class Usage:
    """What one request takes from the limits of its key."""

    def __init__(self, key: ApiKey, buckets: Buckets) -> None:
        self.limits: KeyLimits = key.limits
        self.levels: list[Level] = []  # of the limits that were applied to the request, in order
        self._key_id = key.id
        self._buckets = buckets

    def take_request(self) -> None:
        """Count the request. Raises RateLimitedError when there are too many."""
        self._take(Bucket.REQUESTS, self.limits.requests, 1)

    def take_rows(self, count: int) -> None:
        """Count the rows of the request. Raises RateLimitedError when there are too many; then none is counted."""
        self._take(Bucket.ROWS, self.limits.rows, count)

    def _take(self, bucket: Bucket, limit: RateLimit | None, count: int) -> None:
        if limit is None:
            return
        taking = self._buckets.take(self._key_id, bucket, limit, count)
        seconds = (taking.delay_ns or taking.full_in_ns) / _SECOND_NS
        self.levels.append(Level(bucket, taking.left, seconds))
        if taking.delay_ns:
            raise RateLimitedError(_advice(bucket, limit, count, seconds), seconds)


def _advice(bucket: Bucket, limit: RateLimit, count: int, delay_s: float) -> str:
    unit = bucket.name.lower()
    if count > limit.burst:
        return f"a batch of this key may have at most {limit.burst} {unit}, and this one has {count}; send smaller ones"
    return f"this key may send {limit.per_second:g} {unit} a second; try again in {ceil(delay_s)} s"
