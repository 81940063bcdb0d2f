"""A server under test with all that a run needs, and loads that are checked against its table."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg

from bench.data import Batches, make_batches
from bench.generators import generate, generate_timed
from bench.load import Load
from bench.processes import CpuMeter, RunningServer, run_server
from bench.table import count_rows, empty_table
from bench.targets import INGEST_PATH, Shape

SECONDS = 3.0


@dataclass(frozen=True)
class Stand:
    """A running server and a connection to its database."""

    server: RunningServer
    database: psycopg.Connection

    def batches(self, rows_each: int, path: str = INGEST_PATH) -> Batches:
        """Return what is sent to the server."""
        return _make_batches(self.server.project_id, self.server.target.api_key, rows_each, path)

    def load(self, shape: Shape, *, rate: float | None = None) -> tuple[Load, CpuMeter]:
        """Load the server, which starts with an empty table; return what came of it and the CPU it took.

        A load without a rate (requests/s over all connections) is as fast as the server answers. Ends the benchmark
        when the table does not hold what was acknowledged.
        """
        batches = self.batches(shape.batch_rows)
        empty_table(self.database)
        with CpuMeter(self.server) as cpu:
            if rate is None:
                load = generate(self.server.target, shape, batches, SECONDS)
            else:
                load = generate_timed(self.server.target, shape, batches, SECONDS, rate=rate)
        self.check(load, shape.batch_rows)
        return load, cpu

    def check(self, load: Load, batch_rows: int) -> None:
        """End the benchmark unless the table holds exactly the rows that were acknowledged."""
        acknowledged, stored = load.requests * batch_rows, count_rows(self.database)
        if stored != acknowledged:
            sys.exit(f"void: {acknowledged} rows acknowledged, {stored} stored")


@contextmanager
def run_stand(command: Path, settings: Mapping[str, str] = {}) -> Iterator[Stand]:
    """Run the server of a `seestack-ingest` command with its embedded Postgres."""
    with (
        run_server(command, settings) as server,
        psycopg.connect(server.database_url, autocommit=True) as database,
    ):
        yield Stand(server, database)


@cache
def _make_batches(project_id: str, api_key: str, rows_each: int, path: str) -> Batches:
    return make_batches(project_id, api_key, rows_each, path=path)
