"""The schema of a spool file: numbered .sql files, and the code that applies those that a file lacks.

A file, once released, is never edited; a change is a new file. `user_version` is the number of the last one applied.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from storage.errors import SpoolError

_SCRIPTS = sorted(Path(__file__).parent.glob("*.sql"))
VERSION = len(_SCRIPTS)

_SETTINGS = ("PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")


def prepare(connection: sqlite3.Connection) -> None:
    """Set an autocommit connection to a spool file up, and bring the file's schema up to date, all or nothing.

    Several processes may do so at once. Raises SpoolError when the file is of a newer version, sqlite3.Error.
    """
    _check_version(connection)
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()
    if _check_version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in _SCRIPTS[_check_version(connection) :]:
            for statement in _statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_version(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise SpoolError(
            f"its schema is version {version}, written by a newer version of seestack-ingest; this one knows {VERSION}"
        )
    return version


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script, of which a trigger is one."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
