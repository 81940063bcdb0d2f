"""How a limit is shared among servers: each gets the part of it that its clients ask for.

All servers come to the same shares from the same figures, so nobody has to give them out.
"""

import math
from collections.abc import Sequence

from storage.keys.limits import RateLimit

# Divided evenly, so that a server that nothing was asked of has something for its first requests.
RESERVE = 0.05
# In which what was asked for loses most of its weight: the time in which a burst fills, within these bounds.
SHORTEST_MEMORY_S = 1.0
LONGEST_MEMORY_S = 60.0


def share_of(own: float, others: Sequence[float], servers: int, rate: float) -> float:
    """Return a server's share of a limit, of 1 for all servers together.

    `own` and `others` are what is asked of this server and of others, of `servers` in all, `rate` the limit, each a
    second. While less is asked for than the limit allows, a share is as large as its part of that. What is more
    than the limit is cut off from those that ask for the most.
    """
    wanted = [min(each, rate) for each in (own, *others)]
    total = sum(wanted)
    if total <= 0:
        return 1 / servers
    part = wanted[0] / total if total <= rate else min(wanted[0], highest_fair(wanted, rate)) / rate
    return (1 - RESERVE) * part + RESERVE / servers


def highest_fair(wanted: Sequence[float], rate: float) -> float:
    """Return the most that each may have, so that all together have `rate`; all of `wanted` is more than that."""
    left, rest = rate, len(wanted)
    for each in sorted(wanted):
        if each * rest >= left:
            break
        left -= each
        rest -= 1
    return left / rest


def approach(share: float, target: float) -> float:
    """Return the next share of a server: it falls at once, and rises by half of the way.

    Servers of which much is asked at the same moment do not know of each other yet.
    """
    return target if target < share else (share + target) / 2


def remember(wanted: float, asked: float, seconds: float, limit: RateLimit) -> float:
    """Return what is wanted a second, after `asked` came within the last `seconds`; `wanted` is that of before."""
    memory_s = min(max(SHORTEST_MEMORY_S, limit.burst / limit.per_second), LONGEST_MEMORY_S)
    kept = math.exp(-seconds / memory_s)
    return kept * wanted + (1 - kept) * min(asked / seconds, limit.per_second)
