"""The rate limits of an API key."""

from dataclasses import dataclass
from typing import NamedTuple

# The columns' CHECKs say the same.
LOWEST_RATE = 0.001
HIGHEST_RATE = 1_000_000.0
LARGEST_BURST = 1_000_000


class RateLimit(NamedTuple):
    """A rate in the long run, and at most `burst` at once after a pause."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """The limits of a key; None is without limit."""

    requests: RateLimit | None = None
    rows: RateLimit | None = None
