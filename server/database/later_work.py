"""What is done for rows after they were stored.

Rows of an earlier version are moved, what was filled gets summaries, days that are over are closed, and old rows go.
"""

import logging
import threading
import time
from datetime import UTC, datetime

import psycopg

from server.database.retention import Retention
from server.database.row_moving import RowMoving
from storage.brin_ranges import RangeSummaries
from storage.closed_days import close_days, days_to_close
from storage.database import connect
from storage.errors import StorageError
from storage.privileges import owns_schema

INTERVAL_S = 2.0
MOVING_S = 1.0  # between two pauses of INTERVAL_S: rows that come have the machine most of the time
CLOSING_INTERVAL_S = 60.0
RETRY_INTERVAL_S = 10.0
STOP_TIMEOUT_S = 2.0

_logger = logging.getLogger(__name__)


class LaterWork:
    """A thread of the main process that works on the table until it is stopped; one of all servers rebuilds."""

    CONNECTIONS = 2

    def __init__(self, database_url: str, retention: Retention) -> None:
        self.days_to_close = 0  # when it was last looked
        self.moving = RowMoving()
        self._url = database_url
        self.retention = retention
        self._summaries = RangeSummaries()
        self._next_closing_at = 0.0
        self._is_told = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="later-work", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop soon. A rebuild that is under way is left to its end, or to whoever starts next."""
        self._stopped.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with connect(self._url) as connection:
                    self._work(connection)
            except (StorageError, psycopg.Error) as error:
                # Maintenance logs again and again that a database is down.
                if not self._is_told:
                    self._is_told = True
                    _logger.warning("rows are stored, but not worked on further, retry in a moment: %s", error)
            except Exception:
                # A thread that ends would leave all later rows without summaries.
                _logger.exception("rows are stored, but not worked on further, retry in a moment")
            self._stopped.wait(RETRY_INTERVAL_S)

    def _work(self, connection: psycopg.Connection) -> None:
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
