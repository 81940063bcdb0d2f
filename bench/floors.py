"""Floors, measured in the same run: what a row must cost at least, and what the servers reach that do nothing."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from statistics import median
from typing import NamedTuple

import psycopg
from psycopg import sql
from pydantic import SecretStr

from bench.data import Batches, decode_bodies
from bench.processes import CpuMeter, RunningServer
from bench.table import empty_table, table_name
from bench.targets import Target
from server.processes import supervisor
from server.processes.listeners import listen, reserve
from server.processes.signals import Flag
from server.settings import load_settings

# Rows of a COPY into the table, as many as a flush of the server has, and into the bare one.
FLUSH_ROWS = 5_000
MOST_ROWS = 40_000
COPY_SECONDS = 2.0

_COLUMNS = """
SELECT attname FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND NOT atthasdef ORDER BY attnum
"""
_READ = "COPY (SELECT {columns} FROM {table} OFFSET {first} LIMIT {rows}) TO STDOUT (FORMAT BINARY)"
_WRITE = "COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"
# As the table in its types and defaults, but neither partitioned nor indexed.
_CREATE_BARE = "CREATE TABLE IF NOT EXISTS bench_bare (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE)"
_BARE = sql.Identifier("bench_bare")


class CopyResult(NamedTuple):
    """What a lone COPY reaches: rows/s, and microseconds a row of Postgres' CPU."""

    rows_per_second: float
    cpu_us: float


class RowCopy:
    """Rows that a server has stored, as binary COPY, to be written again by a connection that does nothing else."""

    def __init__(self, server: RunningServer, database: psycopg.Connection) -> None:
        """Read the rows; there must be MOST_ROWS in the table."""
        self._server = server
        self._database = database
        self._table = sql.Identifier(table_name(database))
        names = [name for (name,) in database.execute(_COLUMNS, (table_name(database),))]
        self._columns = sql.SQL(", ").join(map(sql.Identifier, names))
        self._flushes = [self._read(first, FLUSH_ROWS) for first in range(0, MOST_ROWS, FLUSH_ROWS)]
        self._all = self._read(0, MOST_ROWS)
        database.execute(sql.SQL(_CREATE_BARE).format(table=self._table))

    def into_table(self) -> CopyResult:
        """Write into the table itself, which is empty before and after."""
        empty_table(self._database)
        result = self._write(self._table, self._flushes)
        empty_table(self._database)
        return result

    def into_bare_table(self) -> CopyResult:
        """Write into a table without indexes and partitions."""
        result = self._write(_BARE, [self._all])
        self._database.execute("TRUNCATE bench_bare")
        return result

    def _read(self, first: int, rows: int) -> bytes:
        statement = sql.SQL(_READ).format(columns=self._columns, table=self._table, first=first, rows=rows)
        with self._database.cursor() as cursor, cursor.copy(statement) as copy:
            return b"".join(copy)

    def _write(self, table: sql.Identifier, flushes: Sequence[bytes]) -> CopyResult:
        statement = sql.SQL(_WRITE).format(table=table, columns=self._columns)
        rates = []
        started = time.perf_counter()
        with CpuMeter(self._server) as cpu:
            while time.perf_counter() - started < COPY_SECONDS:
                begun = time.perf_counter()
                for flush in flushes:
                    with self._database.cursor() as cursor, cursor.copy(statement) as copy:
                        copy.write(flush)
                rates.append(MOST_ROWS / (time.perf_counter() - begun))
        return CopyResult(median(rates), cpu.postgres_seconds / (len(rates) * MOST_ROWS) * 1e6)


def decode_cpu_us(batches: Batches) -> float:
    """Return the microseconds a row that msgspec takes to decode the JSON bodies."""
    decode_bodies(batches)
    times: list[float] = []
    for _ in range(10):
        begun = time.process_time()
        decode_bodies(batches)
        times.append(time.process_time() - begun)
    return median(times) / (len(batches.http_requests) * batches.rows_each) * 1e6


@contextmanager
def run_noop(api_key: str) -> Iterator[Target]:
    """Run the no-op servers (bench.noop), with the same number of workers as the real ones."""
    with closing(listen("127.0.0.1", 0)) as http, closing(reserve("127.0.0.1", 0)) as grpc:
        settings = load_settings(http_port=http.getsockname()[1], grpc_port=grpc.getsockname()[1]).model_copy(
            update={"database_url": SecretStr("postgresql://unused")}
        )
        workers = supervisor.Supervisor(settings, http, http_module="bench.noop", grpc_module="bench.noop")
        workers.start(Flag())
        try:
            yield Target(("127.0.0.1", settings.http_port), ("127.0.0.1", settings.grpc_port), api_key)
        finally:
            workers.stop(at_once=Flag())
