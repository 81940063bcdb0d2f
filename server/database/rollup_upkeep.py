"""The thread that keeps the rollups: it sums up new rows, merges groups, and deletes what is too old.

Several servers of one database take turns: whichever has the state locked makes a pass. A server that dies loses the
lock with its connection.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from storage.database import connect
from storage.errors import StorageError
from storage.privileges import owns_schema
from storage.rollups.aggregation import Aggregator
from storage.rollups.merging import advance_limits, delete_old, merge_due, sum_up
from storage.rollups.rolling import Pass, Roller
from storage.rollups.state import RollupState, go_on_in_this_cluster, read_state

INTERVAL_S = 1.0
RETRY_INTERVAL_S = 5.0
UPKEEP_INTERVAL_S = 10.0
LIMITS_INTERVAL_S = 600.0
LONG_S = 60.0  # after which rows that are not summed up yet are worth a line in the log
STOP_TIMEOUT_S = 15.0

_logger = logging.getLogger(__name__)


@dataclass
class RollupFigures:
    """What the thread did and how far behind it is, for metrics."""

    rows: int = 0
    groups: int = 0
    other_rows: int = 0  # counted as {other}
    failures: int = 0
    lag_transactions: int = 0  # that began after the last one whose rows are all in the rollups
    lag_s: float = 0.0  # age of the oldest row that may not be in the rollups


def continue_transactions(connection: psycopg.Connection) -> None:
    """After a restore into another cluster, have its transactions count on from those of the rows.

    Raises psycopg.Error. It needs the owner of the tables; until then, nothing is read from rollups.
    """
    if read_state(connection).is_of_this_cluster:
        return
    if not owns_schema(connection):
        _logger.warning("the database was restored: run `seestack-ingest migrate` as the tables' owner to have rollups")
    elif go_on_in_this_cluster(connection):
        _logger.info("the database was restored: transactions count on from those of the rows")


class RollupUpkeep:
    """A thread of the main process that keeps the rollups until it is stopped."""

    CONNECTIONS = 1

    def __init__(
        self, database_url: str, make_aggregator: Callable[[], Aggregator], retention_days: int | None
    ) -> None:
        """Keep them from now on; hours and days for `retention_days`, None: all."""
        self.figures = RollupFigures()
        self._url = database_url
        self._retention_days = retention_days
        self._roller = Roller(make_aggregator)
        self._pending: deque[tuple[float, int]] = deque()  # when the next transaction was which one
        self._next_upkeep_at = 0.0
        self._next_limits_at = 0.0
        self._told_at = time.monotonic()
        self._is_failing = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollups", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, after what is being done now, unless a database that does not answer holds it up."""
        self._stopped.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with connect(self._url) as connection:
                    self._keep(connection)
            except (StorageError, psycopg.Error, OSError) as error:
                self._note_failure(error, is_expected=True)
            except Exception as error:
                # A thread that ends would leave all answers to be read from rows until the next start.
                self._note_failure(error, is_expected=False)
            self._stopped.wait(RETRY_INTERVAL_S)

    def _keep(self, connection: psycopg.Connection) -> None:
        while not self._stopped.is_set():
            state = read_state(connection)
            done = self._roller.roll(connection)
            self._note_success(done)
            self._measure(state, max(state.mark, done.reached) if done else state.mark)
            if done is not None and done.is_behind:
                continue
            self._look_after(connection)
            self._stopped.wait(INTERVAL_S)

    def _look_after(self, connection: psycopg.Connection) -> None:
        """Do what has time until all rows are summed up."""
        now = time.monotonic()
        if now >= self._next_upkeep_at:
            while not self._stopped.is_set() and (sum_up(connection) or merge_due(connection)):
                pass
            self._next_upkeep_at = now + UPKEEP_INTERVAL_S
        if now >= self._next_limits_at:
            advance_limits(connection, self._retention_days)
            while not self._stopped.is_set() and delete_old(connection):
                pass
            self._next_limits_at = now + LIMITS_INTERVAL_S

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

    def _note_success(self, done: Pass | None) -> None:
        if self._is_failing:
            self._is_failing = False
            _logger.warning("rollups are kept again")
        if done is None:
            return
        figures = self.figures
        figures.rows += done.rows
        figures.groups += done.groups
        if not figures.other_rows and self._roller.variety.others:
            _logger.warning("a project has too many hosts or endpoints a day; in rollups, new ones count as {other}")
        figures.other_rows = self._roller.variety.others

    def _note_failure(self, error: Exception, *, is_expected: bool) -> None:
        self.figures.failures += 1
        if not self._is_failing or not is_expected:
            self._is_failing = True
            _logger.warning("rollups cannot be kept, retry in a moment: %s", error, exc_info=not is_expected)
