"""What a row costs when no two are alike: CPU while it is written, later, and for the rollups; bytes on disk.

Loads send the same batches over and over, for which indexes are smaller and cheaper than they would be.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg

from bench.data import make_half_an_hour
from bench.load import run_load
from bench.processes import CpuMeter
from bench.stand import Stand
from bench.table import bytes_per_row, empty_table
from bench.targets import HTTP, INGEST_PATH, Shape, connect

ROWS = 300_000
SHAPE = Shape(HTTP, 100, 16)
LATER_US = "Postgres us a row, later"

_ROLLUP_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'seestack-ingest rollups'"
_HAS_NEWER_ROWS = """
SELECT EXISTS (SELECT FROM http_request_rows WHERE transaction >= (SELECT mark FROM rollup_state))
"""
_WORK_LATER = Path(__file__).with_name("work_later.py")


def measure_different_rows(stand: Stand, server_python: Path) -> Mapping[str, float]:
    """Send ROWS different rows to the server, and do what it does later with them, in its own code."""
    server, count = stand.server, ROWS // SHAPE.batch_rows
    batches = make_half_an_hour(server.project_id, server.target.api_key, SHAPE.batch_rows, count, path=INGEST_PATH)
    empty_table(stand.database)
    rollups = RollupMeter(stand.database)
    with CpuMeter(server) as writing:
        load = run_load(connect(server.target, SHAPE, batches), requests=count)
    stand.check(load, SHAPE.batch_rows)
    rollups_while_writing = rollups.seconds()
    open_table, open_indexes = bytes_per_row(stand.database)
    rollups.wait_until_kept()
    with CpuMeter(server) as later:
        # -P: what lies beside the script is not to be imported.
        subprocess.run([server_python, "-P", _WORK_LATER, server.database_url], check=True)
    closed_table, closed_indexes = bytes_per_row(stand.database)
    writing_seconds = writing.postgres_seconds - rollups_while_writing
    return {
        "server us a row": writing.server_seconds / ROWS * 1e6,
        "Postgres us a row, while writing": writing_seconds / ROWS * 1e6,
        LATER_US: later.postgres_seconds / ROWS * 1e6,
        "Postgres us a row, both": (writing_seconds + later.postgres_seconds) / ROWS * 1e6,
        "Postgres us a row, for the rollups": rollups.seconds() / ROWS * 1e6,
        "bytes a row on an open day: table": open_table,
        "bytes a row on an open day: indexes": open_indexes,
        "bytes a row on a closed day: table": closed_table,
        "bytes a row on a closed day: indexes": closed_indexes,
    }


class RollupMeter:
    """The CPU of the connection by which a server keeps the rollups; one of an earlier version has none."""

    def __init__(self, database: psycopg.Connection) -> None:
        self._database = database
        self._backends = [psutil.Process(pid) for (pid,) in database.execute(_ROLLUP_BACKENDS)]
        self._before = self._total()

    def seconds(self) -> float:
        """Return the CPU seconds of its backend until now."""
        return self._total() - self._before

    def wait_until_kept(self) -> None:
        """Wait until all rows are in the rollups."""
        while self._backends and self._database.execute(_HAS_NEWER_ROWS).fetchone() == (True,):
            time.sleep(0.5)

    def _total(self) -> float:
        return float(sum(times.user + times.system for times in (backend.cpu_times() for backend in self._backends)))
