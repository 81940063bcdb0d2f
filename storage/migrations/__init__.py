"""The schema's history: numbered .sql files, and the code that applies the missing ones.

A file, once released, is never edited; a change is a new file. Several servers may start at once: each takes an
advisory lock first, so one applies and the others find nothing left to do. Servers of earlier versions store meanwhile:
a migration that waits for a table's lock would hold up their batches behind it, so it does not wait for long.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from storage.errors import SchemaError

# Any constant does, as long as nobody else uses it: the ASCII codes of "seestack".
ADVISORY_LOCK = 0x7365657374616368 >> 1

# Whoever wants to store queues behind a migration that waits for a lock, for no longer than this.
LOCK_TIMEOUT = "1s"
ATTEMPTS = 30
PAUSE_S = 1.0

_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, true)"
_CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_APPLIED = "SELECT version, sha256 FROM schema_migrations"
_RECORD = "INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, %s, %s)"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One .sql file: `0001_initial.sql` has version 1 and name "initial"."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Hex digest of the file's text, to notice a file that was edited after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def all_migrations() -> list[Migration]:
    """Return every migration that this version ships, oldest first."""
    return sorted(_read_files(), key=lambda migration: migration.version)


def migrate(connection: psycopg.Connection) -> list[Migration]:
    """Apply what is missing, all of it or nothing, and return what was applied.

    A database that is ahead of this version is left alone: an older server keeps running beside a newer one.
    Raises SchemaError when an applied file's text differs from the shipped one, and when transactions of others do not
    let go of a table within about a minute.
    """
    for _ in range(ATTEMPTS):
        try:
            return _migrate(connection)
        except psycopg.errors.LockNotAvailable:
            _logger.warning("a long transaction holds a table that is to be changed; trying again")
            time.sleep(PAUSE_S)
    raise SchemaError("the schema could not be brought up to date: long transactions hold its tables; try again later")


def _migrate(connection: psycopg.Connection) -> list[Migration]:
    with connection.transaction():
        connection.execute(_LOCK, (ADVISORY_LOCK,))
        connection.execute(_SET_LOCK_TIMEOUT, (LOCK_TIMEOUT,))
        connection.execute(_CREATE_HISTORY)
        applied: dict[int, str] = dict(connection.execute(_APPLIED).fetchall())
        missing = [migration for migration in all_migrations() if _is_missing(migration, applied)]
        for migration in missing:
            connection.execute(migration.sql.encode())
            connection.execute(_RECORD, (migration.version, migration.name, migration.sha256))
    return missing


def _is_missing(migration: Migration, applied: dict[int, str]) -> bool:
    sha256 = applied.get(migration.version)
    if sha256 not in (None, migration.sha256):
        raise SchemaError(
            f"migration {migration.version} ({migration.name}) was applied with another text: "
            "this database was made by a build that this one does not continue"
        )
    return sha256 is None


def _read_files() -> Iterator[Migration]:
    for path in Path(__file__).parent.glob("*.sql"):
        version, _, name = path.stem.partition("_")
        yield Migration(int(version), name, path.read_text(encoding="utf-8"))
