"""`python -m bench.strangers`: what refused and unfinished requests cost in memory, and a good client in time."""

import re
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import Process
from pathlib import Path
from typing import Any

import grpc
import psutil
from rich.console import Console

from bench.data import make_batches
from bench.load import run_load
from bench.processes import RunningServer, run_server
from bench.targets import HTTP, INGEST_PATH, STREAM, UNARY, Shape, connect, grpc_path

MIB = 2**20
UNKNOWN_KEY = "seestack_live_" + "a" * 43

CALLS = 800
CALLS_AT_ONCE = 400
CALL_BYTES = 3 * MIB
CHANNELS = 8

CONNECTIONS = 2000
BODY_BYTES = MIB
SENT_BYTES = 900 * 1024
HOLD_S = 10.0

STREAMS = 10_000
STREAMS_BEFORE = 500
STREAM_BATCHES = 60
CANCELLED_AFTER_S = 0.003

GOOD_ROWS = 10
GOOD_CALLS = 50
SETTLE_S = 30.0


def main() -> None:
    """Run each flood against a server of its own and print what it cost."""
    console = Console()
    wanted = sys.argv[1:]
    floods: dict[str, tuple[str, Callable[[RunningServer], object]]] = {
        "gRPC, unknown key": (UNARY, lambda server: flood_grpc(server.target.grpc, UNKNOWN_KEY)),
        "gRPC, valid key": (UNARY, lambda server: flood_grpc(server.target.grpc, server.target.api_key)),
        "HTTP, unknown key": (HTTP, lambda server: flood_http(server.target.http, UNKNOWN_KEY)),
        "HTTP, valid key": (HTTP, lambda server: flood_http(server.target.http, server.target.api_key)),
    }
    for name, (protocol, flood) in floods.items():
        if not wanted or any(word in name for word in wanted):
            with run_server() as server:
                console.print(name, measure(server, protocol, flood))
    if not wanted or "streams" in wanted:
        with run_server() as server:
            console.print("cancelled streams", measure_streams(server))


def measure(server: RunningServer, protocol: str, flood: Callable[[RunningServer], object]) -> dict[str, object]:
    """Run a flood in a process of its own beside a good client."""
    good = make_batches(server.project_id, server.target.api_key, GOOD_ROWS, path=INGEST_PATH)
    run_load(connect(server.target, Shape(protocol, GOOD_ROWS, 8), good), 2.0)
    before = memory_of(server)
    process = Process(target=flood, args=(server,))
    with watch_memory(server) as peaks:
        process.start()
        latencies: list[float] = []
        while process.is_alive() or len(latencies) < GOOD_CALLS:
            opened = connect(server.target, Shape(protocol, GOOD_ROWS, 1), good)
            latencies += run_load(opened, requests=1).latencies
            time.sleep(0.02)
        process.join()
    time.sleep(SETTLE_S)
    return {
        "most MiB of a worker": max(peaks),
        "before": before,
        "after 30 s": memory_of(server),
        "good client's slowest ms": round(max(latencies) * 1000),
        "good calls": len(latencies),
    }


def measure_streams(server: RunningServer) -> dict[str, object]:
    """Cancel many streams, and return the workers' memory after some of them and after all."""
    cancel_streams(server, STREAMS_BEFORE)
    time.sleep(5)
    before = memory_of(server)
    cancel_streams(server, STREAMS - STREAMS_BEFORE)
    time.sleep(5)
    return {f"after {STREAMS_BEFORE}": before, f"after {STREAMS}": memory_of(server)}


def flood_grpc(address: tuple[str, int], key: str) -> None:
    """Make calls with large messages, many at once."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.insecure_channel(f"{address[0]}:{address[1]}", options) for _ in range(CHANNELS)]
    calls: list[Any] = [channel.unary_unary(grpc_path(UNARY)) for channel in channels]
    data = b"\0" * CALL_BYTES

    def call(number: int) -> str:
        try:
            calls[number % CHANNELS](data, metadata=(("x-seestack-key", key),), timeout=60)
        except grpc.RpcError as error:
            return str(error.code())
        return "OK"

    with ThreadPoolExecutor(CALLS_AT_ONCE) as executor:
        print(Counter(executor.map(call, range(CALLS))))


def flood_http(address: tuple[str, int], key: str) -> None:
    """Open connections, send most of a body over each, and stop."""
    head = (
        f"POST {INGEST_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-SeeStack-Key: {key}\r\n"
        f"Content-Length: {BODY_BYTES}\r\n\r\n"
    )
    data = memoryview(head.encode() + b" " * SENT_BYTES)
    selector = selectors.DefaultSelector()
    left: dict[socket.socket, int] = {}
    statuses: Counter[str] = Counter()
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(address)
        connection.setblocking(False)
        left[connection] = 0
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
    end = time.monotonic() + HOLD_S
    while time.monotonic() < end:
        for ready, events in selector.select(0.1):
            connection = ready.fileobj  # type: ignore[assignment]
            try:
                if events & selectors.EVENT_READ:
                    received = connection.recv(65536)
                    statuses[received[9:12].decode() or "closed"] += 1
                    if not received:
                        selector.unregister(connection)
                        continue
                if events & selectors.EVENT_WRITE and left[connection] < len(data):
                    left[connection] += connection.send(data[left[connection] :])
                if left[connection] >= len(data):
                    selector.modify(connection, selectors.EVENT_READ)
            except OSError as error:
                statuses[type(error).__name__] += 1
                selector.unregister(connection)
    print(statuses, f"{sum(left.values()) / MIB:.0f} MiB sent")


def cancel_streams(server: RunningServer, count: int) -> None:
    """Open streams one after the other, send batches, and cancel each after a moment."""
    messages = make_batches(server.project_id, server.target.api_key, GOOD_ROWS, path=INGEST_PATH).messages
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [
        grpc.insecure_channel(f"{server.target.grpc[0]}:{server.target.grpc[1]}", options) for _ in range(CHANNELS)
    ]

    def cancel(number: int) -> None:
        method: Any = channels[number % CHANNELS].stream_stream(grpc_path(STREAM))
        call = method(iter(messages[:STREAM_BATCHES]), metadata=(("x-seestack-key", server.target.api_key),))
        time.sleep(CANCELLED_AFTER_S)
        call.cancel()

    with ThreadPoolExecutor(CHANNELS) as executor:
        list(executor.map(cancel, range(count)))
    for channel in channels:
        channel.close()


def memory_of(server: RunningServer) -> list[int]:
    """Return the resident memory of each worker, in MiB."""
    return [rss_mib(worker) for worker in server.workers]


def rss_mib(process: psutil.Process) -> int:
    """Return the resident memory of a process, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


@contextmanager
def watch_memory(server: RunningServer) -> Iterator[Sequence[int]]:
    """Yield a list which at the end has the most memory that each worker had meanwhile, in MiB."""
    peaks = memory_of(server)
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            peaks[:] = map(max, peaks, memory_of(server))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        is_over.set()
        thread.join()


if __name__ == "__main__":
    main()
