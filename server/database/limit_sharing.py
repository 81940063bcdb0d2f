"""The thread that shares the limits of keys among all servers of a database.

Every second it says what clients asked of this server, reads the same of all others, and sets the share of each limit
that is this server's until the next time. No request waits for it.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import sub
from uuid import UUID, uuid4

import psycopg

from server.access.limit_shares import approach, remember, share_of
from server.access.token_buckets import Bucket, Buckets, Demand
from server.database.background import BackgroundThread
from storage.database import connect
from storage.keys.api_keys import read_limits
from storage.keys.limit_servers import Wanted, exchange, forget_gone, leave
from storage.keys.limits import KeyLimits, RateLimit

INTERVAL_S = 1.0
# After which a server that was not heard of is forgotten, and one that hears of no other takes an even share.
FORGET_S = 5.0

_NO_DEMAND = 0.001  # of a limit; less is nothing
_NO_CHANGE = 0.01  # of a share; less is not worth a write
_SHORTEST_S = 0.001
_NOTHING = [0] * len(Bucket)

Demands = Mapping[UUID, Sequence[Demand]]

_logger = logging.getLogger(__name__)


@dataclass
class _Use:
    """What clients lately asked of this server with a key."""

    limits: KeyLimits
    wanted: list[float]  # a second, in the order of Bucket

    def limit_of(self, bucket: Bucket) -> RateLimit | None:
        return self.limits.requests if bucket is Bucket.REQUESTS else self.limits.rows

    def look(self, asked: Sequence[int], seconds: float) -> None:
        """Take in what was asked for within the last `seconds`."""
        for bucket in Bucket:
            limit = self.limit_of(bucket)
            wanted = 0.0 if limit is None else remember(self.wanted[bucket], asked[bucket], seconds, limit)
            self.wanted[bucket] = 0.0 if limit is None or wanted < limit.per_second * _NO_DEMAND else wanted


class LimitSharing(BackgroundThread):
    """A thread of the main process that shares the limits of keys with other servers until it is stopped."""

    CONNECTIONS = 1

    def __init__(self, database_url: str, buckets_file: int) -> None:
        """Share the limits of the buckets in that file from now on."""
        self.servers = 1  # that share the limits, this one included, as far as is known
        self.failures = 0
        self._url = database_url
        self._id = uuid4()
        self._buckets = Buckets(buckets_file)
        self._asked: dict[UUID, list[int]] = {}  # since the start, as of the last look, in the order of Bucket
        self._uses: dict[UUID, _Use] = {}  # of the keys with which something was asked lately
        self._looked_at = self._heard_at = time.monotonic()
        self._is_failing = False
        super().__init__("limits", INTERVAL_S)

    def _work(self) -> None:
        with connect(self._url) as connection:
            forget_gone(connection)
            self._share(connection)

    def _share(self, connection: psycopg.Connection) -> None:
        while not self._stopped.is_set():
            demands = self._buckets.demands()
            self._look(demands, connection)
            wanted = {str(key): use.wanted for key, use in self._uses.items()}
            others = exchange(connection, self._id, wanted, FORGET_S)
            self.servers = len(others) + 1
            self._set_shares(demands, others)
            self._note_success()
            self._stopped.wait(INTERVAL_S)
        leave(connection, self._id)

    def _look(self, demands: Demands, connection: psycopg.Connection) -> None:
        """Find out what is wanted of the keys in use."""
        now = time.monotonic()
        seconds, self._looked_at = max(now - self._looked_at, _SHORTEST_S), now
        before, self._asked = self._asked, {key: [each.asked for each in of_key] for key, of_key in demands.items()}
        asked_lately = {key for key, asked in self._asked.items() if asked != before.get(key, _NOTHING)}
        used = asked_lately | self._uses.keys()
        limits = read_limits(connection, used) if used else {}
        for key in used:
            use = self._uses.pop(key, None) or _Use(KeyLimits(), [0.0, 0.0])
            # Addresses that log in have buckets as well, but no limits.
            use.limits = limits.get(key, KeyLimits())
            use.look(list(map(sub, self._asked[key], before.get(key, _NOTHING))), seconds)
            if any(use.wanted):
                self._uses[key] = use

    def _set_shares(self, demands: Demands, others: Sequence[Wanted]) -> None:
        first = 1 / self.servers
        self._buckets.set_first_share(first)
        for key, of_key in demands.items():
            use = self._uses.get(key)
            wanted_of_others = [wanted for other in others if (wanted := other.get(str(key))) is not None]
            for bucket in Bucket:
                limit = use.limit_of(bucket) if use is not None else None
                own = use.wanted[bucket] if use is not None else 0.0
                rate = limit.per_second if limit is not None else math.inf
                target = share_of(own, [wanted[bucket] for wanted in wanted_of_others], self.servers, rate)
                self._set_share(key, bucket, limit, of_key[bucket].share, approach(of_key[bucket].share, target))

    def _take_even_shares(self) -> None:
        """Have the same share of all limits as the others that were there, which can do no other."""
        for key, of_key in self._buckets.demands().items():
            use = self._uses.get(key)
            for bucket in Bucket:
                limit = use.limit_of(bucket) if use is not None else None
                self._set_share(key, bucket, limit, of_key[bucket].share, 1 / self.servers)

    def _set_share(self, key: UUID, bucket: Bucket, limit: RateLimit | None, present: float, share: float) -> None:
        if abs(share - present) > present * _NO_CHANGE:
            self._buckets.set_share(key, bucket, limit, share)

    def _note_success(self) -> None:
        self._heard_at = time.monotonic()
        if self._is_failing:
            self._is_failing = False
            _logger.warning("limits of keys are shared again")

    def _note_failure(self, error: Exception, *, is_expected: bool) -> None:
        self.failures += 1
        if not self._is_failing or not is_expected:
            self._is_failing = True
            _logger.warning(
                "limits of keys cannot be shared; until they are, this server goes on with its last share of them, "
                "after %g s with one of %d: %s", FORGET_S, self.servers, error, exc_info=not is_expected,
            )  # fmt: skip
        if time.monotonic() > self._heard_at + FORGET_S:
            self._take_even_shares()
