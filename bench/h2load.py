"""Load by h2load (https://nghttp2.org): unary gRPC, and HTTP/1.1 at a given rate.

A process of it sends one body over and over, so there are several, each with a body of its own. It knows no gRPC, and
takes an error of it for a success, since both are HTTP status 200; that every batch was stored is seen in the table.
"""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.connections import LoadError, grpc_frame
from bench.data import Batches
from bench.load import Load, children_cpu_seconds
from bench.targets import HTTP, Shape, Target, grpc_path

COMMAND = "h2load"
MOST_PROCESSES = 16
STARTING_S = 0.5
_HTTP_SUCCESS, _GRPC_ANSWER = "202", "200"
_HTTP_OPTIONS: Sequence[str] = ("--h1", "--header=content-type: application/json")
_GRPC_OPTIONS: Sequence[str] = (
    "--max-concurrent-streams=1",
    "--header=content-type: application/grpc",
    "--header=te: trailers",
)


def run(target: Target, shape: Shape, batches: Batches, requests: int, *, rate: float | None = None) -> Load:
    """Send `requests` requests (rounded up to whole rounds of all connections) and wait for all answers.

    With a `rate` (requests a second) they are spread evenly over time and over the connections; a connection whose
    answer is late sends its next request after it, and the latency counts from then. Processes end one after the
    other, so rate and latencies are those of the time in which all of them run, with a rate without the first
    STARTING_S, in which the processes take what the server needs. Raises LoadError.
    """
    processes = min(MOST_PROCESSES, shape.connections)
    connections = shape.connections // processes
    each = -(-requests // shape.connections) * connections
    cpu_at_start = children_cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="seestack-h2load-") as name:
        running = []
        for number in range(processes):
            command = _command(target, shape, batches, Path(name), number)
            command += [f"--requests={each}", f"--clients={connections}"]
            if rate is not None:
                command += _spread(rate, shape.connections, connections)
                time.sleep(1 / rate)
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        outputs = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise LoadError(f"h2load failed: {outputs[0]}")
        status = _HTTP_SUCCESS if shape.protocol == HTTP else _GRPC_ANSWER
        logs = [_read_log(Path(name) / f"log-{number}", status) for number in range(processes)]
    return _summarize(logs, each, children_cpu_seconds() - cpu_at_start, 0.0 if rate is None else STARTING_S)


def _command(target: Target, shape: Shape, batches: Batches, folder: Path, number: int) -> list[str]:
    if shape.protocol == HTTP:
        head, _, body = batches.http_requests[number].partition(b"\r\n\r\n")
        options, (host, port), path = _HTTP_OPTIONS, target.http, head.split(b" ")[1].decode()
    else:
        body = grpc_frame(batches.messages[number])
        options, (host, port), path = _GRPC_OPTIONS, target.grpc, grpc_path(shape.protocol)
    (folder / f"body-{number}").write_bytes(body)
    return [
        COMMAND,
        *options,
        f"--data={folder}/body-{number}",
        f"--log-file={folder}/log-{number}",
        f"--header=x-seestack-key: {target.api_key}",
        f"http://{host}:{port}{path}",
    ]


def _spread(rate: float, connections: int, of_process: int) -> list[str]:
    """Return the options for a rate over all connections: those of a process take turns."""
    interval_s = connections / rate
    return [f"--rps={1 / interval_s}", "--rate=1", f"--rate-period={max(1, round(interval_s / of_process * 1000))}ms"]


def _read_log(path: Path, status: str) -> list[tuple[float, float]]:
    """Return begin and end of each request, in seconds. Raises LoadError."""
    times = []
    for line in path.read_text().splitlines():
        begun, found, microseconds = line.split()
        if found != status:
            raise LoadError(f"an answer of h2load has status {found}")
        times.append((int(begun) / 1e6, (int(begun) + int(microseconds)) / 1e6))
    return times


def _summarize(logs: Sequence[list[tuple[float, float]]], each: int, cpu_seconds: float, starting_s: float) -> Load:
    if any(len(log) != each for log in logs):
        raise LoadError(f"h2load lost requests: {each} wanted, {[len(log) for log in logs]} answered")
    first, last = min(log[0][0] for log in logs), max(log[-1][1] for log in logs)
    begin, end = max(log[0][0] for log in logs) + starting_s, min(log[-1][1] for log in logs)
    if begin >= end:  # on a busy machine a short load can be over in one process before another begins
        begin, end = first, last
    latencies = [ended - begun for log in logs for begun, ended in log if begin <= begun and ended <= end]
    return Load(each * len(logs), len(latencies) / (end - begin), latencies, cpu_seconds / (last - first), COMMAND)
