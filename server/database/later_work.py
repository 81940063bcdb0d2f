"""What is done for rows after they were stored.

Rows of an earlier version are moved, what was filled gets summaries, days that are over are closed, and old rows go.
"""

import logging
import time
from datetime import UTC, datetime

import psycopg

from server.database.background import BackgroundThread
from server.database.retention import Retention
from server.database.row_moving import RowMoving
from storage.brin_ranges import RangeSummaries
from storage.closed_days import close_days, days_to_close
from storage.database import connect
from storage.priority import let_backend_give_way
from storage.privileges import owns_schema

INTERVAL_S = 2.0
MOVING_S = 1.0  # between two pauses of INTERVAL_S: rows that come have the machine most of the time
CLOSING_INTERVAL_S = 60.0
RETRY_INTERVAL_S = 10.0

_logger = logging.getLogger(__name__)


class LaterWork(BackgroundThread):
    """A thread of the main process that works on the table until it is stopped; one of all servers rebuilds."""

    CONNECTIONS = 2
    STOP_TIMEOUT_S = 2.0  # a rebuild that is under way is left to its end, or to whoever starts next

    def __init__(self, database_url: str, retention: Retention) -> None:
        self.days_to_close = 0  # when it was last looked
        self.moving = RowMoving()
        self._url = database_url
        self.retention = retention
        self._summaries = RangeSummaries()
        self._next_closing_at = 0.0
        self._is_told = False
        super().__init__("later-work", RETRY_INTERVAL_S)

    def _note_failure(self, error: Exception, *, is_expected: bool) -> None:
        # Maintenance logs again and again that a database is down.
        if not self._is_told or not is_expected:
            self._is_told = True
            _logger.log(
                logging.WARNING if is_expected else logging.ERROR,
                "rows are stored, but not worked on further, retry in a moment: %s", error, exc_info=not is_expected,
            )  # fmt: skip

    def _work(self) -> None:
        with connect(self._url, name="later work") as connection:
            let_backend_give_way(connection)
            self._work_on_table(connection)

    def _work_on_table(self, connection: psycopg.Connection) -> None:
        """Work until stopped, on one connection. The role may do so only if it owns the tables."""
        while not self._stopped.is_set():
            if owns_schema(connection):
                self._summaries.summarize(connection)
                if not self.moving.is_over:
                    self.moving.work(connection, MOVING_S)
                elif time.monotonic() >= self._next_closing_at:
                    self._close_days(connection)
                self.retention.work(connection)
            else:
                self.retention.tell_of_role(connection)
            self._is_told = False
            self._stopped.wait(INTERVAL_S)

    def _close_days(self, connection: psycopg.Connection) -> None:
        self._next_closing_at = time.monotonic() + CLOSING_INTERVAL_S
        now = datetime.now(UTC)
        self.days_to_close = len(days_to_close(connection, now))
        for day in close_days(connection, self._url, now):
            _logger.info("closed %s: its day is over, and its index by time was rebuilt", day)
        self.days_to_close = len(days_to_close(connection, now))
