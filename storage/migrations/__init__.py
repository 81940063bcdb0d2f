"""The schema's history: numbered .sql files, and the code that applies the missing ones.

A file, once released, is never edited; a change is a new file. Several servers may start at once: each takes an
advisory lock first, so one applies and the others find nothing left to do. Servers of earlier versions store meanwhile:
their batches queue behind a migration that waits for a table's lock, so it does not wait for long.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from storage.database import durable_transaction, naming_lock_timeouts, set_lock_timeout
from storage.errors import SchemaError

# Any constant that nothing else uses: the ASCII codes of "seestack".
ADVISORY_LOCK = 0x7365657374616368 >> 1

# Batches queue behind a migration that waits for a lock, for no longer than this.
LOCK_TIMEOUT = "1s"
ATTEMPTS = 30
PAUSE_S = 1.0

_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_HAS_HISTORY = "SELECT to_regclass('schema_migrations') IS NOT NULL"
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


def has_history(connection: psycopg.Connection) -> bool:
    """Tell whether any migration was ever applied."""
    return connection.execute(_HAS_HISTORY).fetchone() == (True,)


def missing_migrations(connection: psycopg.Connection) -> list[Migration]:
    """Return what this version ships and the database does not have, oldest first. Nothing is locked or changed.

    Raises SchemaError when an applied file's text differs from the shipped one, or the history may not be read.
    """
    try:
        applied: dict[int, str] = dict(connection.execute(_APPLIED).fetchall()) if has_history(connection) else {}
    except psycopg.errors.InsufficientPrivilege as error:
        raise SchemaError(
            f"role {connection.info.user} may not read the schema's history: GRANT SELECT ON schema_migrations"
        ) from error
    return [migration for migration in all_migrations() if _is_missing(migration, applied)]


def require_current(connection: psycopg.Connection) -> None:
    """Raise SchemaError when the database lacks a migration of this version."""
    if missing_migrations(connection):
        raise SchemaError("the database's schema is not up to date: run `seestack-ingest migrate` first")


def migrate(connection: psycopg.Connection) -> list[Migration]:
    """Apply what is missing, all of it or nothing, and return what was applied.

    A database that is ahead of this version is left alone: an older server keeps running beside a newer one.
    When nothing is missing, nothing is locked, and the right to read the history suffices.
    Raises SchemaError when an applied file's text differs from the shipped one, when the role may not change the
    schema, and when other transactions hold a table for longer than about a minute.
    """
    if not missing_migrations(connection):
        return []
    for _ in range(ATTEMPTS):
        try:
            return _apply_missing(connection)
        except psycopg.errors.LockNotAvailable:
            _logger.warning("a long transaction holds a table that is to be changed; trying again")
            time.sleep(PAUSE_S)
    raise SchemaError("the schema could not be brought up to date: long transactions hold its tables; try again later")


def rehearse(connection: psycopg.Connection) -> None:
    """Apply what is missing and undo it. Raises SchemaError when the role may not change the schema.

    Tables that are in use would be locked meanwhile: this is for a database without any.
    """
    with connection.transaction(force_rollback=True):
        _apply_missing(connection)


def _apply_missing(connection: psycopg.Connection) -> list[Migration]:
    try:
        with naming_lock_timeouts(), durable_transaction(connection):
            connection.execute(_LOCK, (ADVISORY_LOCK,))
            set_lock_timeout(connection, LOCK_TIMEOUT)
            connection.execute(_CREATE_HISTORY)
            missing = missing_migrations(connection)
            for migration in missing:
                connection.execute(migration.sql.encode())
                connection.execute(_RECORD, (migration.version, migration.name, migration.sha256))
        return missing
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName) as error:
        raise SchemaError(
            f"role {connection.info.user} may not bring the schema up to date ({error.diag.message_primary}): run "
            "`seestack-ingest migrate` as the owner of its tables, or in a new database GRANT CREATE ON SCHEMA public"
        ) from error


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
