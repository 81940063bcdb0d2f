"""Maintenance: what a server does in the background.

Migrations, partitions for the coming days, deletion of old idempotency keys, restart of the embedded database, and the
copy of the API keys on disk.
"""

import logging
import threading
import time

import psycopg

from server.database.partition_upkeep import PartitionUpkeep
from server.database.rollup_upkeep import continue_transactions
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
    """A thread of the main process that maintains the database until it is stopped."""

    CONNECTIONS = 1

    def __init__(
        self,
        database_url: str,
        embedded: EmbeddedServer | None,
        partitions: PartitionUpkeep,
        key_snapshot: KeySnapshot | None,
    ) -> None:
        """Maintain the database from now on, and keep `key_snapshot`, if given, up to date with it."""
        self._url = database_url
        self._embedded = embedded
        self._partitions = partitions
        self._key_snapshot = key_snapshot
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
                    _logger.warning("the embedded Postgres had ended and was started again")
                if time.monotonic() >= self._next_schema_at:
                    self._keep_schema()
                if self._key_snapshot is not None and time.monotonic() >= self._next_keys_at:
                    self._copy_keys(self._key_snapshot)
            except (StorageError, psycopg.Error, OSError) as error:
                _logger.warning("maintenance failed, retry in a moment: %s", error)
            except Exception:
                # A thread that ends would leave the database without maintenance until the next start.
                _logger.exception("maintenance failed, retry in a moment")
            self._stopped.wait(INTERVAL_S)

    def _keep_schema(self) -> None:
        self._next_schema_at = time.monotonic() + RETRY_INTERVAL_S
        with connect(self._url) as connection:
            migrate(connection)  # not done at the start if the database was down then
            continue_transactions(connection)
            is_complete = self._partitions.make(connection)
            forget_claims(connection)
        if is_complete:
            self._next_schema_at = time.monotonic() + SCHEMA_INTERVAL_S

    def _copy_keys(self, key_snapshot: KeySnapshot) -> None:
        self._next_keys_at = time.monotonic() + KEY_INTERVAL_S
        with connect(self._url) as connection:
            require_owner(key_snapshot.folder, read_identity(connection), location_of(self._url))
            key_snapshot.save(valid_keys(connection, MAX_KEYS))
