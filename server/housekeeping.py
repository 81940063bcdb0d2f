"""What a server does beside serving: partitions for the days to come, and the embedded database's health."""

import logging
import threading
import time
from datetime import UTC, datetime

import psycopg

from storage.database import connect
from storage.embedded import EmbeddedServer
from storage.errors import StorageError
from storage.partitions import ensure_partitions

INTERVAL_S = 2.0
PARTITION_INTERVAL_S = 3600.0
RETRY_INTERVAL_S = 60.0

_logger = logging.getLogger(__name__)


class Housekeeping:
    """A thread of the supervisor that keeps the database in order until it is stopped."""

    def __init__(self, database_url: str, embedded: EmbeddedServer | None) -> None:
        self._url = database_url
        self._embedded = embedded
        self._next_partitions_at = time.monotonic() + PARTITION_INTERVAL_S
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, after what is being done now."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            try:
                if self._embedded is not None and self._embedded.ensure_running():
                    _logger.warning("the embedded Postgres was gone and is started again")
                if time.monotonic() >= self._next_partitions_at:
                    self._make_partitions()
            except (StorageError, psycopg.Error) as error:
                _logger.warning("housekeeping failed and is tried again: %s", error)

    def _make_partitions(self) -> None:
        self._next_partitions_at = time.monotonic() + RETRY_INTERVAL_S
        with connect(self._url) as connection:
            made = ensure_partitions(connection, datetime.now(UTC).date())
        if made:
            _logger.info("made partitions %s", ", ".join(made))
        self._next_partitions_at = time.monotonic() + PARTITION_INTERVAL_S
