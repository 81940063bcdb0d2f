"""What keeps one set of tables of rollups: it sums up new rows, merges groups, and deletes what is too old."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

from storage.brin_ranges import RangeSummaries
from storage.privileges import owns_schema
from storage.rollups.handed_rows import Handover
from storage.rollups.merging import advance_limits, delete_old, merge_due, sum_up
from storage.rollups.requests import PassRequests
from storage.rollups.rolling import Pass, Roller
from storage.rollups.state import RollupState, read_state
from storage.rollups.summing import Summing

INTERVAL_S = 1.0
WORTHWHILE_ROWS = 5_000  # what a pass costs beside its rows is little then
UPKEEP_INTERVAL_S = 10.0
LIMITS_INTERVAL_S = 600.0
# A pass rests as long as it works, and the less the further it is behind: not at all from RESTLESS_S on.
RESTED_S = 2.0
RESTLESS_S = 5.0
LONG_S = 60.0  # after which rows that are not summed up yet are worth a line in the log

_logger = logging.getLogger(__name__)


@dataclass
class RollupFigures:
    """What was done and how far behind it is, for metrics."""

    rows: int = 0
    handed_rows: int = 0  # of them, that were summed up as they were sent
    stored: int = 0  # rows of rollups that were written
    other_rows: int = 0  # counted as {other}
    failures: int = 0
    lag_transactions: int = 0  # that began after the last one whose rows are all in the rollups
    lag_s: float = 0.0  # age of the oldest row that may not be in the rollups

    @classmethod
    def sum_of(cls, figures: "Iterable[RollupFigures]", failures: int) -> "RollupFigures":
        """Return the figures of several sets of tables together: of the one that is behind most."""
        each = list(figures)
        return cls(
            sum(of_one.rows for of_one in each),
            sum(of_one.handed_rows for of_one in each),
            sum(of_one.stored for of_one in each),
            sum(of_one.other_rows for of_one in each),
            failures,
            max((of_one.lag_transactions for of_one in each), default=0),
            max((of_one.lag_s for of_one in each), default=0.0),
        )


def rest_share(lag_s: float) -> float:
    """Return how long a pass rests, as a share of the time that it works, when it is so far behind."""
    return min(1.0, max(0.0, (RESTLESS_S - lag_s) / (RESTLESS_S - RESTED_S)))


class RollupKeeper:
    """Keeps the rollups of the rows that a connection's statements are about, a pass at each call."""

    def __init__(
        self,
        summing: Summing,
        retention_days: int | None,
        requests: PassRequests,
        handover: Handover,
        shard: int = 0,
        summaries_interval_s: float = 0.0,
        longest_interval_s: float = INTERVAL_S,
    ) -> None:
        """Hours and days are kept for `retention_days`, None: all. What `requests` ask for is not rested from.

        `handover` has rows of the shard that this server's processes have stored. The index that finds the others is
        brought up to date by a pass, but not within `summaries_interval_s` again. A pass is due when it is likely to
        have WORTHWHILE_ROWS, between INTERVAL_S and `longest_interval_s` after the last.
        """
        self._summaries_interval_s = summaries_interval_s
        self._next_summaries_at = 0.0
        self._longest_interval_s = longest_interval_s
        self._passed_at = time.monotonic()
        self._next_pass_at = 0.0
        self.figures = RollupFigures()
        self._retention_days = retention_days
        self._summing = summing
        self._requests = requests
        self._roller = Roller(summing, self._rest, handover, shard)
        # Rows are found by it; where it has no summaries yet, each pass reads all rows.
        self._summaries = RangeSummaries("http_request_rows_transaction")
        self._has_rows = False  # whether the last pass had any
        self._pending: deque[tuple[float, int]] = deque()  # when the next transaction was which one
        self._next_upkeep_at = 0.0
        self._next_limits_at = 0.0
        self._told_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Tell whether it is time for a pass."""
        return time.monotonic() >= self._next_pass_at

    def work(self, connection: psycopg.Connection, stopped: threading.Event, transaction_base: int = 0) -> bool:
        """Make a pass, and return whether more rows are to be summed up at once. Raises psycopg.Error.

        `transaction_base` is as for `Roller.roll`.
        """
        if self._has_rows and time.monotonic() >= self._next_summaries_at and owns_schema(connection):
            self._summaries.summarize(connection)
            self._next_summaries_at = time.monotonic() + self._summaries_interval_s
        self._requests.take()
        state = read_state(connection)
        done = self._roller.roll(connection, transaction_base)
        self._has_rows = done is not None and done.rows > 0
        self._plan(done.rows if done is not None else 0)
        self._count(done)
        self._measure(state, max(state.mark, done.reached) if done else state.mark)
        if done is not None and done.is_behind:
            return True
        self._look_after(connection, stopped)
        return False

    def _rest(self, worked_s: float) -> None:
        if not self._requests.is_asked:
            time.sleep(worked_s * rest_share(self.figures.lag_s))

    def _plan(self, rows: int) -> None:
        """Say when the next pass is due after one that had so many rows."""
        now = time.monotonic()
        wanted_s = (now - self._passed_at) * WORTHWHILE_ROWS / rows if rows else self._longest_interval_s
        self._next_pass_at = now + min(max(wanted_s, INTERVAL_S), self._longest_interval_s)
        self._passed_at = now

    def _look_after(self, connection: psycopg.Connection, stopped: threading.Event) -> None:
        """Do what has time until all rows are summed up."""
        now = time.monotonic()
        if now >= self._next_upkeep_at:
            while self._sum_up_or_merge(connection):
                if stopped.is_set() or self._requests.is_asked:
                    return
            self._next_upkeep_at = now + UPKEEP_INTERVAL_S
        if now >= self._next_limits_at:
            advance_limits(connection, self._retention_days)
            while not stopped.is_set() and delete_old(connection):
                pass
            self._next_limits_at = now + LIMITS_INTERVAL_S

    def _sum_up_or_merge(self, connection: psycopg.Connection) -> bool:
        return sum_up(connection, self._summing) or merge_due(connection, self._summing) > 0

    def _measure(self, state: RollupState, reached: int) -> None:
        """Work out how far behind it is, from the state before a pass and what that has reached."""
        now = time.monotonic()
        if not self._pending or now - self._pending[-1][0] >= INTERVAL_S:
            self._pending.append((now, state.next_transaction))
        while self._pending and self._pending[0][1] <= reached:
            self._pending.popleft()
        self.figures.lag_s = now - self._pending[0][0] if self._pending else 0.0
        self.figures.lag_transactions = max(0, state.next_transaction - reached)
        if self.figures.lag_s > LONG_S and now > self._told_at + LONG_S:
            self._told_at = now
            reason = "there are many" if state.final_below > reached else "a long transaction holds them back"
            _logger.warning("rows of the last %.0f s are not in the rollups yet: %s", self.figures.lag_s, reason)

    def _count(self, done: Pass | None) -> None:
        if done is None:
            return
        figures = self.figures
        figures.rows += done.rows
        figures.handed_rows = self._roller.handed_rows
        figures.stored += done.stored
        if not figures.other_rows and self._roller.other_rows:
            _logger.warning("a project has too many hosts or endpoints a day; in rollups, new ones count as {other}")
        figures.other_rows = self._roller.other_rows
