"""Making partitions for the coming days while the table is in use.

Attaching a partition waits for every transaction that uses the default partition, such as a backup, so it is tried
briefly and again later. Meanwhile rows of that day are stored in the default partition.
"""

import logging
import time
from datetime import UTC, datetime

import psycopg

from storage.partitions import days_due, ensure_partitions
from storage.privileges import owns_schema

LONG_S = 3600.0  # after which a partition that is still missing is logged again, as an error

_OF_OTHERS = (
    "run `seestack-ingest migrate` as the tables' owner every day, which makes the partitions of the coming week; "
    "rows of days without one are stored in the default partition"
)

_logger = logging.getLogger(__name__)


class PartitionUpkeep:
    """Makes the partitions that are due, when called, and logs once what prevents it."""

    def __init__(self) -> None:
        self.missing = 0  # days near today without a partition, when it was last looked
        self._late_since: float | None = None
        self._is_told = False

    def make(self, connection: psycopg.Connection) -> bool:
        """Make what is due, and return whether nothing is due any more. Raises psycopg.Error."""
        today = datetime.now(UTC).date()
        if not owns_schema(connection):
            self._tell(logging.WARNING, f"role {connection.info.user} may not make partitions: {_OF_OTHERS}")
        else:
            try:
                made = ensure_partitions(connection, today)
            except psycopg.errors.LockNotAvailable:
                self._tell_of_lock()
            else:
                self._late_since, self._is_told = None, False
                if made:
                    _logger.info("made %s", ", ".join(made))
        self.missing = len(days_due(connection, today))
        return self.missing == 0

    def _tell_of_lock(self) -> None:
        now = time.monotonic()
        if self._late_since is None:
            self._late_since = now
            self._tell(
                logging.WARNING,
                "a partition has to wait for another transaction, maybe a backup, and is made once that has ended; "
                "rows of that day are stored in the default partition meanwhile",
            )
        elif now - self._late_since > LONG_S:
            self._late_since, self._is_told = now, False
            self._tell(logging.ERROR, "a partition still waits: another transaction locks http_request_rows_ahead")

    def _tell(self, level: int, message: str) -> None:
        if not self._is_told:
            self._is_told = True
            _logger.log(level, message)
