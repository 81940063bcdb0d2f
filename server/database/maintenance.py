"""What a server does beside serving.

The schema, its partitions for the days to come, idempotency keys that are old enough to be forgotten, the embedded
database's health, and a copy of the API keys on disk.
"""

import logging
import threading
import time

import psycopg

from server.database.partition_upkeep import PartitionUpkeep
from storage.database import connect
from storage.database_identity import location_of, read_identity
from storage.embedded.server import EmbeddedServer
from storage.errors import StorageError
from storage.keys.api_keys import valid_keys
from storage.keys.snapshot import KeySnapshot
from storage.migrations import migrate
from storage.spool.folders import require_owner
from storage.writing.claims import forget_claims

INTERVAL_S = 2.0
SCHEMA_INTERVAL_S = 3600.0
RETRY_INTERVAL_S = 10.0
KEY_INTERVAL_S = 10.0
MAX_KEYS = 10_000
STOP_TIMEOUT_S = 15.0

_logger = logging.getLogger(__name__)


class Maintenance:
    """A thread of the supervisor that keeps the database in order until it is stopped."""

    CONNECTIONS = 1

    def __init__(
        self,
        database_url: str,
        embedded: EmbeddedServer | None,
        partitions: PartitionUpkeep,
        key_snapshot: KeySnapshot | None,
    ) -> None:
        """Look after the database from now on, and keep `key_snapshot` like it, if given."""
        self._url = database_url
        self._embedded = embedded
        self._partitions = partitions
        self._known_keys = key_snapshot
        self._next_schema_at = 0.0
        self._next_keys_at = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, after what is being done now, unless a database that does not answer holds it up."""
        self._stopped.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                if self._embedded is not None and self._embedded.ensure_running():
                    _logger.warning("the embedded Postgres was gone and is started again")
                if time.monotonic() >= self._next_schema_at:
                    self._keep_schema()
                if self._known_keys is not None and time.monotonic() >= self._next_keys_at:
                    self._copy_keys(self._known_keys)
            except (StorageError, psycopg.Error, OSError) as error:
                _logger.warning("maintenance failed and is tried again: %s", error)
            self._stopped.wait(INTERVAL_S)

    def _keep_schema(self) -> None:
        self._next_schema_at = time.monotonic() + RETRY_INTERVAL_S
        with connect(self._url) as connection:
            migrate(connection)  # what could not be done at the start, because the database was away
            is_complete = self._partitions.make(connection)
            forget_claims(connection)
        if is_complete:
            self._next_schema_at = time.monotonic() + SCHEMA_INTERVAL_S

    def _copy_keys(self, key_snapshot: KeySnapshot) -> None:
        self._next_keys_at = time.monotonic() + KEY_INTERVAL_S
        with connect(self._url) as connection:
            require_owner(key_snapshot.folder, read_identity(connection), location_of(self._url))
            key_snapshot.save(valid_keys(connection, MAX_KEYS))
