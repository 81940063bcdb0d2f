"""Later work on the rows of a distributed database: on each shard in turn, and on the days that go, of all shards."""

import logging
import time
from contextlib import closing
from datetime import UTC, datetime

import psycopg

from server.database.later_work import CLOSING_INTERVAL_S, LaterWork
from server.database.nodes import ShardRounds
from server.database.retention import INTERVAL_S as RETENTION_INTERVAL_S
from server.database.retention import Retention, ShardRetention
from storage.brin_ranges import RangeSummaries
from storage.closed_days import close_days, days_to_close
from storage.database import connect
from storage.distribution.catalogue import Shard
from storage.distribution.days import DaysToDrop, drop_day_everywhere
from storage.distribution.shards import ShardConnection

INTERVAL_S = 20.0  # each round looks at all partitions of all shards

_logger = logging.getLogger(__name__)


class _ShardWork:
    """What one shard has done and to be done."""

    def __init__(self, retention_days: int | None) -> None:
        self.retention = ShardRetention(retention_days)
        self.days_to_close = 0
        self._summaries = RangeSummaries()
        self._next_closing_at = 0.0

    def work(self, connection: ShardConnection, node_url: str) -> None:
        self._summaries.summarize(connection)
        if time.monotonic() >= self._next_closing_at:
            self._next_closing_at = time.monotonic() + CLOSING_INTERVAL_S
            now = datetime.now(UTC)
            close_days(connection, node_url, now)
            self.days_to_close = len(days_to_close(connection, now))
        self.retention.work(connection)


class ShardLaterWork(LaterWork):
    """A thread of the main process that works on all shards until it is stopped. The role must own the tables."""

    def __init__(self, database_url: str, retention: Retention, retention_days: int | None) -> None:
        self._retention_days = retention_days
        self._shards: dict[int, _ShardWork] = {}
        self._next_drop_at = 0.0
        super().__init__(database_url, retention)
        self.moving.is_over = True

    def _work(self) -> None:
        with closing(ShardRounds(self._url)) as rounds:
            while not self._stopped.is_set():
                rounds.make(self._work_on, self._stopped)
                works = self._shards.values()
                self.days_to_close = sum(work.days_to_close for work in works)
                self.retention.deleted_rows = sum(work.retention.deleted_rows for work in works)
                if time.monotonic() >= self._next_drop_at:
                    self._drop_days(rounds)
                self._is_told = False
                self._stopped.wait(INTERVAL_S)

    def _work_on(self, connection: ShardConnection, shard: Shard) -> None:
        if shard.number not in self._shards:
            self._shards[shard.number] = _ShardWork(self._retention_days)
        self._shards[shard.number].work(connection, shard.node.url(self._url))

    def _drop_days(self, rounds: ShardRounds) -> None:
        before = self.retention.before
        if before is None:
            return
        days = DaysToDrop(before)
        rounds.make(lambda connection, _: days.look(connection), self._stopped)
        self.retention.overdue_days = len(days.expired)
        with connect(self._url) as connection:
            for day in days.droppable:
                try:
                    drop_day_everywhere(connection, day)
                except psycopg.errors.LockNotAvailable:
                    _logger.warning("old rows stay for now: another transaction, maybe a backup, uses the table")
                    return
                self.retention.note_dropped(day)
        if not self.retention.overdue_days:  # otherwise the next round tries again
            self._next_drop_at = time.monotonic() + RETENTION_INTERVAL_S
