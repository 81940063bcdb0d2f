"""Backups of a whole database by pg_dump, in its custom format, and their restore into an empty one."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from storage.client_programs import client_environment, client_program
from storage.database import connect
from storage.embedded.programs import POSTGRES_MAJOR
from storage.errors import BackupError
from storage.private_file import replace_private

# Tables, views and sequences of extensions do not count: an administrator may have made them in an empty database.
_IS_EMPTY = """
SELECT NOT EXISTS (
    SELECT FROM pg_class
     WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
       AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
       AND relpersistence <> 't'
       AND NOT EXISTS (SELECT FROM pg_depend
                        WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
)
"""
# Every backup of this program holds the history of its schema.
_NEEDED_TABLE = re.compile(rb" TABLE DATA \S+ schema_migrations ")

# pg_restore writes this at the top for every server, and servers before 17 do not know it.
_UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"


def write_backup(url: str, file: Path) -> None:
    """Write a backup of the database at `url` to a file that only its owner may read; it appears whole or not at all.

    Others may write to the database meanwhile: the backup holds what was committed when it began.
    Raises StorageUnavailableError and BackupError.
    """
    with connect(url) as connection:
        major = connection.info.server_version // 10_000
    if major > POSTGRES_MAJOR:
        raise BackupError(
            f"the database is Postgres {major}, and the pg_dump that comes along is {POSTGRES_MAJOR}: "
            f"use that of Postgres {major} or newer: pg_dump --format=custom --file=FILE"
        )
    with _names_file(file), replace_private(file) as unfinished:
        dump = subprocess.run(  # noqa: S603 - a program of the wheel
            [client_program("pg_dump"), "--format=custom", "--no-password", f"--file={unfinished}"],
            stdin=subprocess.DEVNULL, capture_output=True, env=client_environment(url), check=False,
        )  # fmt: skip
        _check("pg_dump failed", dump.returncode, dump.stderr)


def check_backup(file: Path) -> None:
    """Raise BackupError unless `file` is a backup of a database of this program."""
    with _names_file(file), file.open("rb") as archive:
        listing = subprocess.run(  # noqa: S603 - a program of the wheel
            [client_program("pg_restore"), "--list"], stdin=archive, capture_output=True, check=False
        )
    _check(f"{file} is not a backup", listing.returncode, listing.stderr)
    if not _NEEDED_TABLE.search(listing.stdout):
        raise BackupError(f"{file} is a backup of another program's database")


def restore_backup(url: str, file: Path) -> None:
    """Put a backup into the empty database at `url`, all of it or nothing.

    Raises StorageUnavailableError and BackupError.
    """
    with connect(url) as connection:
        if not _is_empty(connection):
            raise BackupError(
                "the database is not empty, and stays as it is: restore into a data folder that does not exist yet "
                "(--data-dir), or into an empty database of your own (--database-url)"
            )
        is_old = connection.info.server_version < 170_000
    with tempfile.TemporaryFile() as messages:
        script = subprocess.Popen(  # noqa: S603 - a program of the wheel
            [client_program("pg_restore"), "--file=-", "--no-owner", "--no-privileges", file],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages,
        )  # fmt: skip
        psql = subprocess.Popen(  # noqa: S603 - a program of the wheel
            [client_program("psql"), "--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=messages, env=client_environment(url),
        )  # fmt: skip
        with suppress(BrokenPipeError), script, psql:  # psql ends at the first error
            _hand_over(script, psql, is_old=is_old)
        messages.seek(0)
        _check("nothing could be restored", script.returncode or psql.returncode, messages.read())


@contextmanager
def _names_file(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"{file}: {error.strerror}") from error


def _hand_over(script: "subprocess.Popen[bytes]", psql: "subprocess.Popen[bytes]", *, is_old: bool) -> None:
    """Give psql what pg_restore writes, as one transaction that is committed only if pg_restore finished."""
    assert script.stdout is not None  # noqa: S101 - both are pipes
    assert psql.stdin is not None  # noqa: S101
    psql.stdin.write(b"BEGIN;\n")
    for line in script.stdout:
        if line == _UNKNOWN_BEFORE_17 and is_old:
            break
        psql.stdin.write(line)
    shutil.copyfileobj(script.stdout, psql.stdin)
    if script.wait() == 0:
        psql.stdin.write(b"COMMIT;\n")


def _is_empty(connection: psycopg.Connection) -> bool:
    row = connection.execute(_IS_EMPTY).fetchone()
    return row is not None and bool(row[0])


def _check(failure: str, exit_code: int, messages: bytes) -> None:
    if exit_code:
        lines = messages.decode(errors="replace").split("\n")
        raise BackupError(f"{failure}: {next(filter(None, lines), f'exit code {exit_code}')}")
