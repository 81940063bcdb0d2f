"""A quantile sketch: durations counted in logarithmic buckets, whose counts add up (DDSketch, VLDB 2019).

A bucket holds whole milliseconds, so small durations have one each; a larger one is told within 1 %.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

# The ratio of a bucket's bounds. Its middle is off by (GAMMA - 1) / (GAMMA + 1) at most, which is 0.99 %.
GAMMA = 1.02
_LN_GAMMA = math.log(GAMMA)
_FINE_IN_COARSE = 7

# The bucket of a duration, in SQL: 0 for 0 ms, 1 for 1 ms. `{ms}` is an expression that gives an integer.
BUCKET_SQL = f"CASE WHEN {{ms}} = 0 THEN 0 ELSE 1 + ceil(ln(({{ms}})::float8) / {_LN_GAMMA!r}::float8)::int END"


def bucket_of(milliseconds: int) -> int:
    """Return the number of the bucket of a duration."""
    return 0 if milliseconds == 0 else 1 + math.ceil(math.log(milliseconds) / _LN_GAMMA)


def coarse_bucket_of(bucket: int) -> int:
    """Return the number of the coarse bucket that a bucket is in: 7 of them are one, whose bounds are 15 % apart."""
    return 0 if bucket == 0 else 1 + (bucket - 1) // _FINE_IN_COARSE


@lru_cache(4096)
def coarse_bounds(coarse: int) -> tuple[int, int] | None:
    """Return the shortest and the longest duration in whole milliseconds of a coarse bucket; None when it has none."""
    if coarse == 0:
        return 0, 0
    first, last = (coarse - 1) * _FINE_IN_COARSE + 1, coarse * _FINE_IN_COARSE
    # A bucket ends at the power of GAMMA that is one less than its number.
    lowest, highest = math.floor(GAMMA ** (first - 2)) + 1, math.floor(GAMMA ** (last - 1))
    if first == 1:
        lowest = 1
    return (lowest, highest) if lowest <= highest else None


@lru_cache(4096)
def duration_of(bucket: int) -> float:
    """Return the milliseconds that a bucket stands for: the middle of the whole numbers in it, by ratio."""
    if bucket == 0:
        return 0.0
    lowest, highest = math.floor(GAMMA ** (bucket - 2)) + 1, math.floor(GAMMA ** (bucket - 1))
    if bucket == 1 or lowest > highest:
        return GAMMA ** (bucket - 1)
    return 2 * lowest * highest / (lowest + highest)


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """Return the duration in milliseconds that a share `q` of those counted by bucket do not exceed; None for none.

    It is that of rank ceil(q * n), within 1 %.
    """
    rank = max(1, math.ceil(q * sum(counts.values())))
    for bucket in sorted(counts):
        rank -= counts[bucket]
        if rank <= 0:
            return round(duration_of(bucket), 2)
    return None
