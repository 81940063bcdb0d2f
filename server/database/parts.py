"""The rows of a database part by part, for commands: as a whole, or shard by shard where Citus distributes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg

from server.database.setup import open_database
from server.settings import Settings
from storage.database import connect
from storage.distribution.catalogue import Placement, is_distributed, read_placement
from storage.distribution.days import DaysToDrop, drop_day_everywhere
from storage.distribution.shards import ShardConnection, shards_on
from storage.migrations import require_current
from storage.retention import ExpiredDay, drop_day, expired_days


class Parts:
    """Iterates over connections whose statements are about one part of the rows each."""

    def __init__(self, whole: psycopg.Connection, url: str) -> None:
        """`whole` is a connection to the database of `url`."""
        self.whole = whole
        self._url = url
        self._placement: Placement | None = read_placement(whole) if is_distributed(whole) else None

    def __len__(self) -> int:
        return 1 if self._placement is None else len(self._placement.shards)

    def __iter__(self) -> Iterator[psycopg.Connection]:
        """Yield each part's connection, which is about that part until the next one. Raises as `connect` does."""
        if self._placement is None:
            yield self.whole
            return
        for node in self._placement.nodes:
            with connect(node.url(self._url), ShardConnection) as of_node:
                for _ in shards_on(of_node, self._placement, node):
                    yield of_node

    def expired_days(self, before: datetime) -> list[ExpiredDay]:
        """Return the partitions whose day had ended at `before`, the oldest first, with their size in all parts."""
        return expired_days(self.whole, before) if self._placement is None else self._look_at_days(before).expired

    def drop_day(self, day: ExpiredDay, before: datetime) -> bool:
        """Drop an expired day in all parts, and return whether it is gone: rows that the rollups need keep it.

        Raises psycopg.errors.LockNotAvailable.
        """
        if self._placement is None:
            return drop_day(self.whole, day)
        if day.name not in {droppable.name for droppable in self._look_at_days(before).droppable}:
            return False
        drop_day_everywhere(self.whole, day)
        return True

    def _look_at_days(self, before: datetime) -> DaysToDrop:
        days = DaysToDrop(before)
        for part in self:
            days.look(part)
        return days


@contextmanager
def connect_to_parts(settings: Settings) -> Iterator[Parts]:
    """Yield the parts of the database of `settings`, whose schema is taken as it is. Raises StorageError."""
    with open_database(settings) as (url, _), connect(url) as connection:
        require_current(connection)
        yield Parts(connection, url)
