"""A spool as servers of version 1 left it: `fixtures/spool-v1.sqlite3.gz`, which the last of them wrote.

It has six batches, all of one project, whose traces tell what they are: `plain` and `last`, `keyed` with an idempotency
key, `doubt-stored` and `doubt-lost`, which one backend may have stored, and `refused`, which Postgres had refused.
"""

import gzip
from pathlib import Path

from storage.spool.file import FILE

BACKEND_PID = 2**22
ROWS = {"plain": 2, "keyed": 1, "doubt-stored": 3, "doubt-lost": 4, "last": 5}

_FIXTURE = Path(__file__).parent / "fixtures" / "spool-v1.sqlite3.gz"


def lay_down(folder: Path) -> None:
    """Write the file into a data folder."""
    (folder / FILE).write_bytes(gzip.decompress(_FIXTURE.read_bytes()))
