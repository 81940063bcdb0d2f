"""`python -m bench.schema [ROWS]`: measures alternatives to the schema of `http_request_rows`.

Every variant is the real migration with one thing changed, and a partition of one day that is filled with the same
rows by the real binary COPY, then worked on as the server does later. A trace is looked up in that day alone; each
further day costs one more look-up. Every variant is measured in each of several rounds, and the better figures count,
so that a moment in which the machine did something else spoils none of them.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
import psycopg
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.processes import cpu_seconds, processor_count
from bench.schema_variants import VARIANTS, Encode, Variant
from server.cli.sample_traffic import make_items
from storage.brin_ranges import RangeSummaries, leave_last_range_open
from storage.embedded.server import EmbeddedServer
from storage.migrations import migrate
from storage.writing.row_encoding import COPY_HEADER, COPY_TRAILER, Values

RESULTS = Path(__file__).with_name("schema-results.json")
ROWS = 300_000
# A flush of some 16 senders.
COPY_ROWS = 800
BATCH_ROWS = 100
REPETITIONS = 15
ROUNDS = 2
SEED = 1

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAY_S = 86_400
# Senders wait before they send, so a row comes up to this many rows after others that happened later.
DISORDER_ROWS = 2_000
PROJECT_WEIGHTS = (70, 15, 8, 5, 2)
MOST_ROWS_OF_A_TRACE = 6

# Vacuums at moments of its own choice would fall on some variants and not on others.
STEADY = ("ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
EMPTY_SCHEMA = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
DAY_TABLE = "http_request_rows_day"
CREATE_DAY = (
    f"CREATE TABLE {DAY_TABLE} PARTITION OF http_request_rows "
    f"FOR VALUES FROM ('{DAY.isoformat()}') TO ('{(DAY + timedelta(days=1)).isoformat()}')"
)
LOG_POSITION = "SELECT pg_current_wal_insert_lsn() - '0/0'"
SIZES = f"SELECT pg_table_size('{DAY_TABLE}'), pg_indexes_size('{DAY_TABLE}')"
TRACE_SETTINGS = "SET enable_seqscan = off"

IN_RANGE = 'FROM http_request_rows WHERE project = %(project)s AND "timestamp" >= %(start)s AND "timestamp" < %(end)s'
FIGURES = (
    "count(*), avg(duration_ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms), "
    "avg((status_code BETWEEN 500 AND 599)::int)"
)


def _newest(condition: str = "true") -> bytes:
    return f'SELECT * {IN_RANGE} AND {condition} ORDER BY "timestamp" DESC LIMIT 100'.encode()


READS: Mapping[str, bytes] = {
    "newest": _newest(),
    "small project": _newest().replace(b"%(project)s", b"%(small_project)s"),
    "5xx": _newest("status_code BETWEEN 500 AND 599"),
    "host": _newest("host = %(host)s"),
    "by host": f"SELECT host, {FIGURES} {IN_RANGE} GROUP BY host".encode(),
    "trace": b'SELECT * FROM http_request_rows WHERE trace = %(trace)s::uuid ORDER BY "timestamp"',
}


class Batch(NamedTuple):
    """What one sender sends at once."""

    project: int
    columns: Values


# What came of a variant, by the names below and those of READS.
Figures = dict[str, float]
RATE, CPU, LOG, TABLE, OPEN_INDEX = "rows/s", "CPU us", "WAL B", "table B", "index B, open"
LATER, LATER_LOG, INDEX = "CPU us later", "WAL B later", "index B, closed"


def main() -> None:
    """Measure every variant, print a table, and write schema-results.json beside this file."""
    parser = argparse.ArgumentParser(prog="python -m bench.schema", description="Measure alternatives to the schema.")
    parser.add_argument("rows", nargs="?", type=int, default=ROWS, help=f"rows of each variant (default: {ROWS:,})")
    rows = max(COPY_ROWS, parser.parse_args().rows // COPY_ROWS * COPY_ROWS)
    source = random.Random(SEED)
    batches = make_batches(rows, source)
    parameters = [make_parameters(batches, source) for _ in range(REPETITIONS)]
    copies = {encode: encode_copies(batches, encode) for encode in {variant.encode for variant in VARIANTS}}
    with run_postgres() as url, psycopg.connect(url, autocommit=True, prepare_threshold=None) as database:
        for statement in STEADY:
            database.execute(statement)
        results: dict[str, Figures] = {}
        for variant in track(VARIANTS * ROUNDS, "Measuring"):
            figures = measure(database, variant, copies[variant.encode], parameters)
            results[variant.name] = better(figures, results.get(variant.name, figures))
    print_results(results, rows)
    report = {"rows": rows, "processors": processor_count(), "variants": results}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


@contextmanager
def run_postgres() -> Iterator[str]:
    """Run an embedded Postgres in a folder that is removed at the end, and yield its URL."""
    with tempfile.TemporaryDirectory(prefix="seestack-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedServer(Path(folder)) as server:
            yield server.url


def make_batches(rows: int, source: random.Random) -> list[Batch]:
    """Return `rows` rows of one day in the order in which they come: batches of several projects in turn."""
    owners = source.choices(range(1, len(PROJECT_WEIGHTS) + 1), PROJECT_WEIGHTS, k=rows // BATCH_ROWS)
    us_per_row = DAY_S * 1_000_000 / rows
    return [
        Batch(project, _make_columns(index * BATCH_ROWS, us_per_row, source)) for index, project in enumerate(owners)
    ]


def _make_columns(position: int, us_per_row: float, source: random.Random) -> Values:
    items = make_items(BATCH_ROWS, source)
    happened = sorted(max(0.0, position - source.uniform(0, DISORDER_ROWS)) for _ in items)
    start_ms = int(DAY.timestamp() * 1000)
    return {
        "trace_id": _make_traces(BATCH_ROWS, source),
        "direction": [item["direction"] for item in items],
        "method": [item["method"] for item in items],
        "host": [item["host"] for item in items],
        "path": [item["path"] for item in items],
        "status_code": [item["statusCode"] for item in items],
        "duration_ms": [item["durationMs"] for item in items],
        "request_size": [item["requestSize"] for item in items],
        "response_size": [item["responseSize"] for item in items],
        "user_id": [item.get("userId") for item in items],
        "error_fingerprint": [item.get("errorFingerprint") for item in items],
        "timestamp": [(start_ms + int(row * us_per_row / 1000)) * 1000 for row in happened],
    }


def _make_traces(rows: int, source: random.Random) -> list[str]:
    traces: list[str] = []
    while len(traces) < rows:
        traces += [f"{source.getrandbits(128):032x}"] * source.randint(1, MOST_ROWS_OF_A_TRACE)
    return traces[:rows]


def make_parameters(batches: Sequence[Batch], source: random.Random) -> dict[str, Any]:
    """Return parameters of every read: an hour, a trace that is there, and a route of which there are rows."""
    start = DAY + timedelta(seconds=source.uniform(0, DAY_S - 3600))
    batch = source.choice(batches)
    row = source.randrange(BATCH_ROWS)
    owners = sorted(batch.project for batch in batches)
    return {
        "project": max(set(owners), key=owners.count),
        "small_project": min(set(owners), key=owners.count),
        "start": start,
        "end": start + timedelta(hours=1),
        "direction": batch.columns["direction"][row],
        "method": batch.columns["method"][row],
        "host": batch.columns["host"][row],
        "path": f"/api/orders/{source.randrange(10_000)}",
        "trace": batch.columns["trace_id"][row],
    }


def measure(
    database: psycopg.Connection, variant: Variant, copies: Sequence[bytes], parameters: Sequence[Mapping[str, Any]]
) -> Figures:
    """Make a variant's table, fill it and read from it. CPU and bytes are those of a row, reads are milliseconds."""
    create_table(database, variant)
    rows = len(copies) * COPY_ROWS
    (log_before,) = _query(database, LOG_POSITION)
    copy_seconds, backend_seconds = fill(database, variant, copies)
    (log_after,) = _query(database, LOG_POSITION)
    _, open_indexes = _query(database, SIZES)
    later_seconds = close(database, variant)
    (log_later,) = _query(database, LOG_POSITION)
    database.execute(f"VACUUM ANALYZE {DAY_TABLE}".encode())
    table, indexes = _query(database, SIZES)
    reads = variant.reads or READS
    return {
        RATE: COPY_ROWS / median(copy_seconds),
        CPU: backend_seconds / rows * 1e6,
        LATER: later_seconds / rows * 1e6,
        LOG: float(log_after - log_before) / rows,
        LATER_LOG: float(log_later - log_after) / rows,
        TABLE: table / rows,
        OPEN_INDEX: open_indexes / rows,
        INDEX: indexes / rows,
        **{name: measure_read(database, read, parameters) for name, read in reads.items()},
    }


def better(figures: Figures, others: Figures) -> Figures:
    """Return the better of each two figures: the higher rate, and the lower of everything else."""
    return {name: (max if name == RATE else min)(value, others[name]) for name, value in figures.items()}


def create_table(database: psycopg.Connection, variant: Variant) -> None:
    """Apply the real migration and the variant's change to a schema made empty."""
    database.execute("RESET ALL")
    database.execute(EMPTY_SCHEMA)
    migrate(database)
    database.execute(variant.change.encode())
    database.execute(CREATE_DAY)
    if not variant.is_summarized_from_the_start:
        leave_last_range_open(database, DAY_TABLE)
    database.execute(TRACE_SETTINGS)
    database.execute("CHECKPOINT")


def encode_copies(batches: Sequence[Batch], encode: Encode) -> list[bytes]:
    """Return the rows as whole binary COPYs of COPY_ROWS each."""
    encoded = [encode(project, columns) for project, columns in batches]
    size = COPY_ROWS // BATCH_ROWS
    starts = range(0, len(encoded), size)
    return [b"".join([COPY_HEADER, *encoded[start : start + size], COPY_TRAILER]) for start in starts]


def fill(database: psycopg.Connection, variant: Variant, copies: Sequence[bytes]) -> tuple[list[float], float]:
    """Store the rows; return the seconds of each COPY with its commit, and the CPU seconds of the backend in all."""
    backend = psutil.Process(database.info.backend_pid)
    cpu_before = cpu_seconds(backend)
    seconds = []
    for rows in copies:
        started = time.perf_counter()
        with database.cursor() as cursor, cursor.copy(variant.copy_statement.encode()) as copy:
            copy.write(rows)
        seconds.append(time.perf_counter() - started)
    return seconds, cpu_seconds(backend) - cpu_before


def close(database: psycopg.Connection, variant: Variant) -> float:
    """Do what is done later to the rows of a day, and return the CPU seconds of the backend."""
    backend = psutil.Process(database.info.backend_pid)
    cpu_before = cpu_seconds(backend)
    RangeSummaries().summarize(database)
    for statement in variant.closing:
        database.execute(statement.encode())
    return cpu_seconds(backend) - cpu_before


def measure_read(database: psycopg.Connection, read: bytes, parameters: Sequence[Mapping[str, Any]]) -> float:
    """Return the median milliseconds until the whole answer is there, planning included."""
    milliseconds = []
    for values in parameters:
        started = time.perf_counter()
        database.execute(read, values)
        milliseconds.append((time.perf_counter() - started) * 1000)
    return median(milliseconds)


def _query(database: psycopg.Connection, query: str) -> tuple[Any, ...]:
    row = database.execute(query.encode()).fetchone()
    assert row is not None
    return row


def print_results(results: Mapping[str, Figures], rows: int) -> None:
    """Print a table of all variants."""
    table = Table(
        title=f"{rows:,} rows of one day. CPU (of the writing backend) and bytes: a row's. Reads: ms, median",
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    headings = (RATE, CPU, LATER, LOG, LATER_LOG, TABLE, OPEN_INDEX, INDEX, *READS)
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, figures in results.items():
        table.add_row(name, *(_cell(figures.get(heading, 0)) for heading in headings))
    Console(width=165).print(table)


def _cell(value: float) -> str:
    if value == 0:
        return ""
    return f"{value:.2f}" if value < 20 else f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


if __name__ == "__main__":
    main()
