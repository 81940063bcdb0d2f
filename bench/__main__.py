"""`python -m bench`: measures the path from socket to table against floors measured in the same run."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psycopg
from pydantic import SecretStr

from bench.connections import Connection, GrpcConnection, HttpConnection
from bench.data import Batches, encode_for_copy, make_batches
from bench.load import Load, run_load
from bench.noop import PATH as NOOP_PATH
from bench.plot import write_plot
from bench.processes import RunningServer, cpu_seconds, peak_memory_bytes, processor_count, run_server
from bench.report import Measurement, Report
from seestack.ingest.v1 import ingest_pb2
from server.grpc.handlers import SERVICE_NAME
from server.processes import supervisor
from server.processes.listeners import listen, reserve
from server.processes.signals import Flag
from server.settings import load_settings
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import COPY_HEADER, COPY_TRAILER

FOLDER = Path(__file__).parent
INGEST_PATH = "/ingest/v1/http-requests"
BATCH_ROWS = (1, 10, 100)
CONNECTIONS = (1, 16, 64)
PROTOCOLS = ("HTTP", "gRPC", "gRPC stream")
SECONDS = 3.0
COPY_ROWS = 5_000
# Batches under way on each connection of a stream; unary calls and HTTP have one.
STREAM_DEPTH = 4
OVERLOAD_CONNECTIONS = 10 * max(CONNECTIONS)
CURVE_CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128)


class NoopServers(NamedTuple):
    """Where the no-op servers listen."""

    http: tuple[str, int]
    grpc: tuple[str, int]


def main() -> None:
    """Measure everything, print it, and write results.json and throughput.svg beside this file."""
    with (
        run_server() as server,
        run_noop() as noop,
        psycopg.connect(server.database_url, autocommit=True) as database,
    ):
        batches = {rows: make_batches(server.project_id, server.api_key, rows, path=INGEST_PATH) for rows in BATCH_ROWS}
        measurements = []
        for protocol in PROTOCOLS:
            # Shared machines change their speed by the minute, so the floors are measured right before.
            copy_rate = measure_copy(server, database, batches[100])
            measurements += [
                measure(server, database, batches[rows], protocol, connections, copy_rate, noop)
                for rows in BATCH_ROWS
                for connections in CONNECTIONS
            ]
        bytes_per_row = measure_disk(database)
        curve = measure_curve(server, database, batches[100])
        latency = measure_latency(server, database, batches[100], max(point["rows_per_second"] for point in curve))
        memory = measure_memory(server, database, batches[100])
    report = Report(processor_count(), measurements, latency, curve, memory, bytes_per_row)
    report.print()
    report.write_json(FOLDER / "results.json")
    write_plot(curve, FOLDER / "throughput.svg")


def measure_copy(server: RunningServer, database: psycopg.Connection, batches: Batches) -> float:
    """Return the rows/s that one connection reaches which does nothing but COPY the same rows into the same table."""
    encoded = encode_for_copy(batches.messages, server.project_id)
    wanted = COPY_ROWS // batches.rows_each
    flushes = [
        b"".join([COPY_HEADER, *((encoded * wanted)[start + offset].data for offset in range(wanted)), COPY_TRAILER])
        for start in range(8)
    ]
    empty_table(database)
    rates = []
    started = time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        begun = time.perf_counter()
        for flush in flushes:
            with database.cursor() as cursor, cursor.copy(HTTP_REQUESTS.form.copy_statement) as copy:
                copy.write(flush)
        rates.append(len(flushes) * COPY_ROWS / (time.perf_counter() - begun))
    return median(rates)


def measure_noop(server: RunningServer, noop: NoopServers, protocol: str, connections: int, batches: Batches) -> float:
    """Return the requests/s of a method that parses such a batch and answers."""
    parsed_only = make_batches(server.project_id, server.api_key, batches.rows_each, path=NOOP_PATH)
    opened = connect(protocol, noop.http, noop.grpc, server.api_key, parsed_only, connections)
    return run_load(opened, SECONDS / 3, depth=depth_of(protocol)).rate


@contextmanager
def run_noop() -> Iterator[NoopServers]:
    """Run the no-op servers, with the same number of workers as the real ones."""
    with closing(listen("127.0.0.1", 0)) as http, closing(reserve("127.0.0.1", 0)) as grpc:
        settings = load_settings(http_port=http.getsockname()[1], grpc_port=grpc.getsockname()[1]).model_copy(
            update={"database_url": SecretStr("postgresql://unused")}
        )
        workers = supervisor.Supervisor(settings, http, http_module="bench.noop", grpc_module="bench.noop")
        workers.start(Flag())
        try:
            yield NoopServers(("127.0.0.1", settings.http_port), ("127.0.0.1", settings.grpc_port))
        finally:
            workers.stop(at_once=Flag())


def measure(
    server: RunningServer,
    database: psycopg.Connection,
    batches: Batches,
    protocol: str,
    connections: int,
    copy_rate: float,
    noop: NoopServers,
) -> Measurement:
    """Load the server over one protocol and return what came of it; void unless every acknowledged row is stored."""
    noop_rate = measure_noop(server, noop, protocol, connections, batches)
    cpu = CpuMeter(server)
    load = load_and_check(server, database, batches, protocol, connections, cpu=cpu)
    rows = load.requests * batches.rows_each
    return Measurement(
        protocol=protocol,
        batch_rows=batches.rows_each,
        connections=connections,
        requests_per_second=load.rate,
        rows_per_second=load.rate * batches.rows_each,
        copy_rows_per_second=copy_rate,
        of_copy=load.rate * batches.rows_each / copy_rate,
        noop_requests_per_second=noop_rate,
        of_noop=load.rate / noop_rate,
        p50_ms=load.percentile(50) * 1000,
        p99_ms=load.percentile(99) * 1000,
        p999_ms=load.percentile(99.9) * 1000,
        server_cpu_us=cpu.server_seconds / rows * 1e6,
        postgres_cpu_us=cpu.postgres_seconds / rows * 1e6,
        generator_cpu_share=load.generator_cpu_seconds / load.seconds,
    )


def load_and_check(
    server: RunningServer,
    database: psycopg.Connection,
    batches: Batches,
    protocol: str,
    connections: int,
    *,
    rate: float | None = None,
    cpu: "CpuMeter | None" = None,
) -> Load:
    """Run a load against an empty table, metered by `cpu`.

    Ends the benchmark when the table does not hold what was acknowledged.
    """
    empty_table(database)
    opened = connect(protocol, server.http, server.grpc, server.api_key, batches, connections)
    with cpu or nullcontext():
        load = run_load(opened, SECONDS, depth=depth_of(protocol), rate=rate)
    row = database.execute("SELECT count(*) FROM http_requests").fetchone()
    stored = row[0] if row else 0
    if stored != load.requests * batches.rows_each:
        sys.exit(f"void: {load.requests * batches.rows_each} rows acknowledged, {stored} stored")
    return load


def measure_curve(server: RunningServer, database: psycopg.Connection, batches: Batches) -> list[dict[str, float]]:
    """Return throughput and latency over HTTP as the number of connections rises."""
    points = []
    for connections in CURVE_CONNECTIONS:
        load = load_and_check(server, database, batches, "HTTP", connections)
        points.append(
            {
                "connections": connections,
                "rows_per_second": load.rate * batches.rows_each,
                "p50_ms": load.percentile(50) * 1000,
                "p99_ms": load.percentile(99) * 1000,
            }
        )
    return points


def measure_latency(
    server: RunningServer, database: psycopg.Connection, batches: Batches, most_rows: float
) -> dict[str, float]:
    """Return the latency of a lone client, and of clients who together send at half of the most that was reached."""
    alone = load_and_check(server, database, batches, "HTTP", 1)
    half = load_and_check(server, database, batches, "HTTP", 64, rate=most_rows / 2 / batches.rows_each)
    alone_p99, half_p99 = alone.percentile(99) * 1000, half.percentile(99) * 1000
    return {
        "a lone client, median": alone.percentile(50) * 1000,
        "a lone client, p99": alone_p99,
        "at half of the highest load, median": half.percentile(50) * 1000,
        "at half of the highest load, p99": half_p99,
        "p99 at half load : p99 alone": half_p99 / alone_p99,
    }


def measure_memory(server: RunningServer, database: psycopg.Connection, batches: Batches) -> dict[str, float]:
    """Return the most memory a worker has had, in MiB: until now, and when ten times the connections are sending."""
    memory = {}
    for load, connections in (("up to now", 0), (f"with {OVERLOAD_CONNECTIONS} connections", OVERLOAD_CONNECTIONS)):
        for protocol in ("HTTP", "gRPC") if connections else ():
            load_and_check(server, database, batches, protocol, connections)
        for name in ("http_bridge", "server.grpc.worker"):
            peaks = [peak_memory_bytes(worker) for worker in server.workers if name in worker.cmdline()]
            memory[f"{name} worker, {load}"] = max(peaks) / 2**20
    return memory


def measure_disk(database: psycopg.Connection) -> dict[str, float]:
    """Return bytes a row of the table and its indexes, as the last run left them."""
    row = database.execute(
        "SELECT sum(pg_table_size(relid)), sum(pg_indexes_size(relid)), (SELECT count(*) FROM http_requests) "
        "FROM pg_partition_tree('http_requests') WHERE isleaf"
    ).fetchone()
    assert row is not None
    table, indexes, rows = row
    return {"table": float(table) / rows, "indexes": float(indexes) / rows}


def empty_table(database: psycopg.Connection) -> None:
    """Start each run from the same state."""
    database.execute("TRUNCATE http_requests")
    database.execute("CHECKPOINT")


def depth_of(protocol: str) -> int:
    """Return how many batches a connection has under way."""
    return STREAM_DEPTH if protocol == "gRPC stream" else 1


def connect(
    protocol: str, http: tuple[str, int], grpc: tuple[str, int], key: str, batches: Batches, connections: int
) -> Sequence[Connection]:
    """Open connections of one protocol that send these batches."""
    if protocol == "HTTP":
        expected = b'{"ok": true, "accepted": %d}' % batches.rows_each
        return [HttpConnection(http, batches.http_requests, expected) for _ in range(connections)]
    is_stream = protocol == "gRPC stream"
    method = "StreamHttpRequests" if is_stream else "IngestHttpRequests"
    answer = (
        ingest_pb2.StreamHttpRequestsResponse(accepted=batches.rows_each)
        if is_stream
        else ingest_pb2.IngestHttpRequestsResponse(ok=True, accepted=batches.rows_each)
    )
    expected = answer.SerializeToString()
    path = f"/{SERVICE_NAME}/{method}"
    return [GrpcConnection(grpc, path, key, batches.messages, expected, stream=is_stream) for _ in range(connections)]


class CpuMeter:
    """A context that adds up the CPU seconds of the server and of Postgres, apart."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self.server_seconds = 0.0
        self.postgres_seconds = 0.0

    def __enter__(self) -> None:
        server, postgres = self._total()
        self.server_seconds -= server
        self.postgres_seconds -= postgres

    def __exit__(self, *_: object) -> None:
        server, postgres = self._total()
        self.server_seconds += server
        self.postgres_seconds += postgres

    def _total(self) -> tuple[float, float]:
        return sum(map(cpu_seconds, self._server.workers)), cpu_seconds(self._server.postgres)


if __name__ == "__main__":
    main()
