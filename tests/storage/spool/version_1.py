"""A spool as servers of version 1 left it: `fixtures/spool-v1.sqlite3.gz`, which the last of them wrote.

It has six batches, all of one project, whose traces tell what they are: `plain` and `last`, `keyed` with an idempotency
key, `doubt-stored` and `doubt-lost`, which one backend may have stored, and `refused`, which Postgres had refused.
"""

import gzip
from contextlib import closing
from pathlib import Path

import psycopg

from storage.spool.file import FILE
from storage.spool.spool import Spool

_CREATE_PROJECT = "INSERT INTO projects (id, name) VALUES (%s, 'of version 1')"

BACKEND_PID = 2**22
ROWS = {"plain": 2, "keyed": 1, "doubt-stored": 3, "doubt-lost": 4, "last": 5}

_FIXTURE = Path(__file__).parent / "fixtures" / "spool-v1.sqlite3.gz"


def create_its_project(connection: psycopg.Connection, folder: Path) -> None:
    """Make the project that the batches in a folder belong to, as it was there when they came."""
    with closing(Spool(folder, max_bytes=2**30)) as spool:
        (first, *_) = spool.oldest(2**30)
        connection.execute(_CREATE_PROJECT, (first.batch.form.first_row(first.batch.data)["project_id"],))


def lay_down(folder: Path) -> None:
    """Write the file into a data folder."""
    (folder / FILE).write_bytes(gzip.decompress(_FIXTURE.read_bytes()))
