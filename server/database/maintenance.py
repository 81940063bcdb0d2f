"""Maintenance: what a server does in the background.

Migrations, partitions for the coming days, deletion of old idempotency keys, restart of the embedded database, and the
copy of the API keys on disk.
"""

import logging
import time

from server.database.background import BackgroundThread
from server.database.nodes import Readiness, coordinator_of
from server.database.partition_upkeep import PartitionUpkeep
from server.database.setup import prepare_rows
from server.settings import Settings
from server.spools import database_url_of
from storage.database import connect
from storage.database_identity import location_of, read_identity
from storage.embedded.server import EmbeddedServer
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

_logger = logging.getLogger(__name__)


class Maintenance(BackgroundThread):
    """A thread of the main process that maintains the database until it is stopped."""

    CONNECTIONS = 1

    def __init__(
        self,
        settings: Settings,
        embedded: EmbeddedServer | None,
        partitions: PartitionUpkeep,
        key_snapshot: KeySnapshot | None,
    ) -> None:
        """Maintain the database of the settings from now on, and keep `key_snapshot`, if given, up to date with it."""
        self._url = database_url_of(settings)
        self._coordinator = coordinator_of(settings, self._url)
        self._readiness = Readiness(self._coordinator) if self._coordinator is not None else None
        self._embedded = embedded
        self._partitions = partitions
        self._key_snapshot = key_snapshot
        self._next_schema_at = 0.0
        self._next_keys_at = 0.0
        super().__init__("maintenance", INTERVAL_S)

    def _work(self) -> None:
        if self._embedded is not None and self._embedded.ensure_running():
            _logger.warning("the embedded Postgres had ended and was started again")
        if time.monotonic() >= self._next_schema_at:
            self._keep_schema()
        if self._readiness is not None:
            self._readiness.keep_on()
        if self._key_snapshot is not None and time.monotonic() >= self._next_keys_at:
            self._copy_keys(self._key_snapshot)

    def _note_failure(self, error: Exception, *, is_expected: bool) -> None:
        level = logging.WARNING if is_expected else logging.ERROR
        _logger.log(level, "maintenance failed, retry in a moment: %s", error, exc_info=not is_expected)

    def _keep_schema(self) -> None:
        self._next_schema_at = time.monotonic() + RETRY_INTERVAL_S
        with connect(self._url) as connection:
            migrate(connection)  # not done at the start if the database was down then
            prepare_rows(connection, self._coordinator)
            is_complete = self._partitions.make(connection)
            forget_claims(connection)
        if is_complete:
            self._next_schema_at = time.monotonic() + SCHEMA_INTERVAL_S

    def _copy_keys(self, key_snapshot: KeySnapshot) -> None:
        self._next_keys_at = time.monotonic() + KEY_INTERVAL_S
        with connect(self._url) as connection:
            require_owner(key_snapshot.folder, read_identity(connection), location_of(self._url))
            key_snapshot.save(valid_keys(connection, MAX_KEYS))
