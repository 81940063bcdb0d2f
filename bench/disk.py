"""What rows take on disk, measured with rows of which no two are alike."""

from bench.data import make_half_an_hour
from bench.load import run_load
from bench.stand import Stand
from bench.table import bytes_per_row, empty_table
from bench.targets import HTTP, INGEST_PATH, Shape, connect

ROWS = 200_000
BATCH_ROWS = 100
CONNECTIONS = 16


def fill_table(stand: Stand) -> None:
    """Send ROWS different rows to the server, whose table has only those afterwards."""
    server, count = stand.server, ROWS // BATCH_ROWS
    batches = make_half_an_hour(server.project_id, server.target.api_key, BATCH_ROWS, count, path=INGEST_PATH)
    empty_table(stand.database)
    load = run_load(connect(server.target, Shape(HTTP, BATCH_ROWS, CONNECTIONS), batches), requests=count)
    stand.check(load, BATCH_ROWS)


def measure_bytes(stand: Stand) -> dict[str, float]:
    """Return the bytes a row of the table and of its indexes, on a day that is being written."""
    fill_table(stand)
    table, indexes = bytes_per_row(stand.database)
    return {"open day, table": table, "open day, indexes": indexes}
