"""The stored form of a sketch: the numbers of its buckets and their counts, as few bytes as they need.

A byte says how wide a count is; then come all numbers (two bytes each), then all counts, little-endian.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def encode_buckets(counts: Mapping[int, int]) -> bytes:
    """Return the stored form of counts by bucket."""
    if not counts:
        return b""
    highest = max(counts.values())
    width = 1 if highest < 2**8 else 2 if highest < 2**16 else 4 if highest < 2**32 else 8
    return bytes((width,)) + _form(len(counts), width).pack(*counts.keys(), *counts.values())


def add_buckets(counts: dict[int, int], data: bytes) -> None:
    """Add the counts of a stored form to `counts`."""
    if not data:
        return
    width = data[0]
    number = (len(data) - 1) // (2 + width)
    values = _form(number, width).unpack_from(data, 1)
    for bucket, requests in zip(values[:number], values[number:], strict=True):
        counts[bucket] = counts.get(bucket, 0) + requests


@lru_cache(4096)
def _form(number: int, width: int) -> struct.Struct:
    return struct.Struct(f"<{number}H{number}{_CODES[width]}")
