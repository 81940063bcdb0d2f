"""Retention: rows that are older than the settings say, and those of deleted projects, go while the server works."""

import logging
import time
from datetime import UTC, datetime

import psycopg

from storage.retention import (
    ExpiredDay,
    delete_deleted_projects,
    delete_other_days,
    drop_day,
    expired_days,
    limit_of,
    rollups_lack_other_days,
)

INTERVAL_S = 600.0
RETRY_INTERVAL_S = 10.0
WORK_S = 1.0  # before other work has its turn

_logger = logging.getLogger(__name__)


class Retention:
    """Deletes a little whenever it is called, until there is nothing to delete for a while."""

    def __init__(self, days: int | None) -> None:
        """`days` are the whole days to keep besides the present one; None keeps all."""
        self.dropped_days = 0
        self.deleted_rows = 0  # not those of dropped days
        self.overdue_days = 0  # that should be gone, when it was last looked
        self._days = days
        self._next_at = 0.0
        self._awaits_rollups = False  # with rows of other days
        self._is_told = False

    @property
    def before(self) -> datetime | None:
        """The time before which rows are to go; None keeps all."""
        return limit_of(datetime.now(UTC), self._days) if self._days is not None else None

    def work(self, connection: psycopg.Connection) -> None:
        """Delete for up to WORK_S; the role must own the tables. Raises psycopg.Error."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + RETRY_INTERVAL_S
        end = time.monotonic() + WORK_S
        try:
            is_complete = self._delete_projects(connection, end) and self._delete_old(connection, end)
        except psycopg.errors.LockNotAvailable:
            self._tell("old rows stay for now: another transaction, maybe a backup, uses the table")
            return
        self._is_told = False
        self._next_at = time.monotonic() + self._pause(is_complete)

    def _pause(self, is_complete: bool) -> float:
        if not is_complete:
            return 0.0
        return RETRY_INTERVAL_S if self.overdue_days or self._awaits_rollups else INTERVAL_S

    def tell_of_role(self, connection: psycopg.Connection) -> None:
        """Warn once when old rows should go, but the role may not delete them."""
        if self._days is not None:
            self._tell(
                f"role {connection.info.user} may not delete old rows: run `seestack-ingest data prune --older-than "
                f"{self._days}d --yes` as the tables' owner every day"
            )

    def _delete_projects(self, connection: psycopg.Connection, end: float) -> bool:
        """Return whether nothing is left."""
        while deleted := delete_deleted_projects(connection):
            self.deleted_rows += deleted
            if time.monotonic() > end:
                return False
        return True

    def _delete_old(self, connection: psycopg.Connection, end: float) -> bool:
        """Return whether nothing is left but what the rollups still need."""
        before = self.before
        if before is None:
            return True
        self._drop_days(connection, before)
        # Asked first: what the rollups get meanwhile is deleted either now or soon.
        self._awaits_rollups = rollups_lack_other_days(connection, before)
        deleted_before = self.deleted_rows
        while deleted := delete_other_days(connection, before):
            self.deleted_rows += deleted
            if time.monotonic() > end:
                break
        if self.deleted_rows > deleted_before:
            _logger.info("deleted %d old rows of other days", self.deleted_rows - deleted_before)
        return deleted == 0

    def _drop_days(self, connection: psycopg.Connection, before: datetime) -> None:
        days = expired_days(connection, before)
        self.overdue_days = len(days)
        for day in days:
            if drop_day(connection, day):
                self.note_dropped(day)

    def note_dropped(self, day: ExpiredDay) -> None:
        """Count a day that is gone."""
        self.overdue_days -= 1
        self.dropped_days += 1
        _logger.info(
            "dropped %s, %d bytes: its day is over for more than %d days", day.name, day.size_bytes, self._days
        )

    def _tell(self, message: str) -> None:
        if not self._is_told:
            self._is_told = True
            _logger.warning(message)


class ShardRetention(Retention):
    """Deletes rows of a shard. Its days belong to all shards, and go together (storage/distribution/days.py)."""

    def _drop_days(self, connection: psycopg.Connection, before: datetime) -> None:
        """Drop none."""
