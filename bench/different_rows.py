"""What a row costs when no two are alike: CPU while it is written and later, and bytes on disk.

Loads send the same batches over and over, for which indexes are smaller and cheaper than they would be.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.data import make_half_an_hour
from bench.load import run_load
from bench.processes import CpuMeter
from bench.stand import Stand
from bench.table import bytes_per_row, empty_table
from bench.targets import HTTP, INGEST_PATH, Shape, connect

ROWS = 300_000
SHAPE = Shape(HTTP, 100, 16)
LATER_US = "Postgres us a row, later"

_WORK_LATER = Path(__file__).with_name("work_later.py")


def measure_different_rows(stand: Stand, server_python: Path) -> Mapping[str, float]:
    """Send ROWS different rows to the server, and do what it does later with them, in its own code."""
    server, count = stand.server, ROWS // SHAPE.batch_rows
    batches = make_half_an_hour(server.project_id, server.target.api_key, SHAPE.batch_rows, count, path=INGEST_PATH)
    empty_table(stand.database)
    with CpuMeter(server) as writing:
        load = run_load(connect(server.target, SHAPE, batches), requests=count)
    stand.check(load, SHAPE.batch_rows)
    open_table, open_indexes = bytes_per_row(stand.database)
    with CpuMeter(server) as later:
        # -P: what lies beside the script is not to be imported.
        subprocess.run([server_python, "-P", _WORK_LATER, server.database_url], check=True)
    closed_table, closed_indexes = bytes_per_row(stand.database)
    return {
        "server us a row": writing.server_seconds / ROWS * 1e6,
        "Postgres us a row, while writing": writing.postgres_seconds / ROWS * 1e6,
        LATER_US: later.postgres_seconds / ROWS * 1e6,
        "Postgres us a row, both": (writing.postgres_seconds + later.postgres_seconds) / ROWS * 1e6,
        "bytes a row on an open day: table": open_table,
        "bytes a row on an open day: indexes": open_indexes,
        "bytes a row on a closed day: table": closed_table,
        "bytes a row on a closed day: indexes": closed_indexes,
    }
