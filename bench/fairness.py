"""`python -m bench.fairness`: what a key that floods the server costs another key that sends a little."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Process
from uuid import UUID

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from bench.connections import Connection
from bench.data import Batches, make_batches
from bench.flood import GrpcFlood, HttpFlood
from bench.load import Load, run_load
from bench.processes import RunningServer, run_server
from bench.table import empty_table
from bench.targets import HTTP, INGEST_PATH, UNARY, Shape, Target, connect, grpc_path
from storage.keys.api_keys import create_key
from storage.keys.limits import KeyLimits, RateLimit

SECONDS = 5.0
# The quiet key: small batches at even times.
QUIET_ROWS = 10
QUIET_RATE = 40.0
QUIET_CONNECTIONS = 4
# The flooding key: the largest batches, as fast as they are answered.
FLOOD_ROWS = 100
FLOOD_CONNECTIONS = 32
FLOOD_LIMITS = KeyLimits(requests=RateLimit(20.0, 20))
PROTOCOLS = (HTTP, UNARY)


def main() -> None:
    """Measure a quiet key alone and beside a flood, without and with a limit, over both protocols, and print it."""
    table = Table(title="A quiet key's latency", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right" if heading else "left")
    with run_server() as server, psycopg.connect(server.database_url, autocommit=True) as database:
        floods = {
            "alone": None,
            "beside a flood": create_flood(server, database, KeyLimits()),
            "beside a flood that is limited": create_flood(server, database, FLOOD_LIMITS),
        }
        quiet = make_batches(server.project_id, server.target.api_key, QUIET_ROWS, path=INGEST_PATH)
        for protocol in PROTOCOLS:
            for name, flood in floods.items():
                empty_table(database)
                with run_flood(server, protocol, flood):
                    load = measure_quiet(server, protocol, quiet)
                milliseconds = [f"{load.percentile(percent) * 1000:,.1f}" for percent in (50, 99)]
                table.add_row(f"{protocol}, {name}", *milliseconds)
    Console().print(table)


def create_flood(server: RunningServer, database: psycopg.Connection, limits: KeyLimits) -> tuple[str, Batches]:
    """Return a new key with these limits, and what it sends."""
    _, raw_key = create_key(database, UUID(server.project_id), "flood", limits=limits)
    return raw_key, make_batches(server.project_id, raw_key, FLOOD_ROWS, path=INGEST_PATH)


def measure_quiet(server: RunningServer, protocol: str, batches: Batches) -> Load:
    """Send what the quiet key sends; every batch must be accepted."""
    opened = connect(server.target, Shape(protocol, QUIET_ROWS, QUIET_CONNECTIONS), batches)
    return run_load(opened, SECONDS, rate=QUIET_RATE)


@contextmanager
def run_flood(server: RunningServer, protocol: str, flood: tuple[str, Batches] | None) -> Iterator[None]:
    """Flood the server from a process of its own, if there is a flood."""
    if flood is None:
        yield
        return
    process = Process(target=send_flood, args=(server.target, protocol, *flood), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def send_flood(target: Target, protocol: str, key: str, batches: Batches) -> None:
    """Send for ever."""

    def open_one() -> Connection:
        if protocol == HTTP:
            return HttpFlood(target.http, batches.http_requests, b"")
        return GrpcFlood(target.grpc, grpc_path(UNARY), key, batches.messages, b"", stream=False)

    run_load([open_one() for _ in range(FLOOD_CONNECTIONS)])


if __name__ == "__main__":
    main()
