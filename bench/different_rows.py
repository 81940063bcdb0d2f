"""What a row costs when no two are alike: CPU while it is written, and bytes on disk.

Loads send the same batches over and over, for which a trace index or one by time is smaller and cheaper than it would be.
"""

from collections.abc import Mapping
from typing import NamedTuple

from bench.data import make_half_an_hour
from bench.load import run_load
from bench.processes import CpuMeter
from bench.stand import Stand
from bench.table import bytes_per_row, empty_table
from bench.targets import HTTP, INGEST_PATH, Shape, connect

ROWS = 300_000
SHAPE = Shape(HTTP, 100, 16)


class DifferentRows(NamedTuple):
    """Microseconds of CPU a row, and bytes a row."""

    server_us: float
    postgres_us: float
    table_bytes: float
    index_bytes: float

    def figures(self) -> Mapping[str, float]:
        """Return them by name."""
        return {
            "server us a row": self.server_us,
            "Postgres us a row": self.postgres_us,
            "open day, bytes of table": self.table_bytes,
            "open day, bytes of indexes": self.index_bytes,
            "open day, bytes": self.table_bytes + self.index_bytes,
        }


def measure_different_rows(stand: Stand) -> DifferentRows:
    """Send ROWS different rows to the server, whose table has only those afterwards."""
    server, count = stand.server, ROWS // SHAPE.batch_rows
    batches = make_half_an_hour(server.project_id, server.target.api_key, SHAPE.batch_rows, count, path=INGEST_PATH)
    empty_table(stand.database)
    with CpuMeter(server) as cpu:
        load = run_load(connect(server.target, SHAPE, batches), requests=count)
    stand.check(load, SHAPE.batch_rows)
    return DifferentRows(
        cpu.server_seconds / ROWS * 1e6, cpu.postgres_seconds / ROWS * 1e6, *bytes_per_row(stand.database)
    )
