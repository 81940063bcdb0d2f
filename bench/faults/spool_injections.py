"""Faults of the spool itself: its file cannot be written, or an older server has filled it."""

import shutil
import sqlite3
import time
from contextlib import closing, suppress

import psutil

from bench.faults.older_server import SPOOL_VERSION_1, older_server
from bench.faults.postgres import wait_until
from bench.faults.stand import Stand
from storage.keys.snapshot import FILE as KEYS_FILE
from storage.spool.file import FILE

FILLED_BATCHES = 200
WRITABLE_BYTES = 2**16  # of any file, enough for a log; a spool is larger


def fail_spool_writes(stand: Stand, seconds: float) -> float:
    """Fill the spool, have the system fail every write to it, also while it should be emptied, and end that.

    A limit of the size of files does it: beyond, write(2) fails, which SQLite takes for an I/O error.
    """
    stand.postgres.stop()
    wait_until(lambda: _count_batches(stand) >= FILLED_BATCHES, "the spool is filled")
    _limit_files(stand, WRITABLE_BYTES)
    time.sleep(seconds / 2)
    stand.postgres.start()
    time.sleep(seconds / 2)
    _limit_files(stand, psutil.RLIM_INFINITY)
    return time.monotonic()


def upgrade_with_full_spool(stand: Stand, seconds: float) -> float:
    """Have an older server fill its spool in an outage, kill it, and start the present one on what it left."""
    with older_server(SPOOL_VERSION_1) as older:
        stand.server.stop()
        shutil.rmtree(stand.spool_folder)
        stand.server.start(older)
        wait_until((stand.spool_folder / KEYS_FILE).exists, "the older server has copied the keys")
        stand.postgres.stop()
        wait_until(lambda: _count_batches(stand) >= FILLED_BATCHES, "the older server's spool is filled")
        time.sleep(seconds)
        stand.server.kill()
        stand.server.start()
        stand.postgres.start()
        return time.monotonic()


def _count_batches(stand: Stand) -> int:
    """Return how many batches are in the spool, whatever its version, without bringing it up to date."""
    path = stand.spool_folder / FILE
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT batches FROM totals").fetchone()[0])


def _limit_files(stand: Stand, size: int) -> None:
    """Limit the size that any file of the server's processes may grow to."""
    for process in stand.server.processes():
        with suppress(psutil.NoSuchProcess):
            _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (size, hard))
