"""Days of a distributed database that go: a day's partition has a part in each shard, and all parts go together."""

from collections import defaultdict
from datetime import datetime

import psycopg
from psycopg import sql

from storage.database import durable_transaction, naming_lock_timeouts, set_lock_timeout
from storage.distribution.shards import table_of
from storage.retention import LOCK_TIMEOUT, ExpiredDay, expired_days, is_needed

_DROP = "DROP TABLE IF EXISTS {}"


class DaysToDrop:
    """Gathers, shard by shard, which days were over before some time, and which of them the rollups still need."""

    def __init__(self, before: datetime) -> None:
        self._before = before
        self._bytes: defaultdict[str, int] = defaultdict(int)
        self._needed: set[str] = set()

    def look(self, connection: psycopg.Connection) -> None:
        """Look at the shard of the connection. Raises psycopg.Error."""
        for part in expired_days(connection, self._before):
            day = table_of(connection, part.name)
            self._bytes[day] += part.size_bytes
            if is_needed(connection, part):
                self._needed.add(day)

    @property
    def expired(self) -> list[ExpiredDay]:
        """The days that were over."""
        return [ExpiredDay(name, size) for name, size in sorted(self._bytes.items())]

    @property
    def droppable(self) -> list[ExpiredDay]:
        """Those that may go, when all shards were looked at."""
        return [day for day in self.expired if day.name not in self._needed]


def drop_day_everywhere(connection: psycopg.Connection, day: ExpiredDay) -> None:
    """Drop the partition of a day; the connection is one to the coordinator.

    A row that came since it was looked is not in the rollups. Raises psycopg.errors.LockNotAvailable.
    """
    with naming_lock_timeouts(), durable_transaction(connection):
        set_lock_timeout(connection, LOCK_TIMEOUT)
        connection.execute(sql.SQL(_DROP).format(sql.Identifier(day.name)))
