"""Unary gRPC load by h2load (https://nghttp2.org), which knows HTTP/2 but not gRPC.

A process of it sends one body over and over, so there are several, each with a body of its own. It takes a gRPC error
for a success, since both are HTTP status 200; that every batch was stored is seen in the table.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.connections import LoadError, grpc_frame
from bench.data import Batches
from bench.load import Load, children_cpu_seconds
from bench.targets import Shape, Target, grpc_path

COMMAND = "h2load"
MOST_PROCESSES = 16
_STATUS_OK = "200"


def run(target: Target, shape: Shape, batches: Batches, requests: int) -> Load:
    """Send `requests` requests (rounded up to whole rounds of all processes) and wait for all answers.

    Processes end one after the other, so rate and latencies are those of the time in which all of them run.
    Raises LoadError.
    """
    processes = min(MOST_PROCESSES, shape.connections)
    each = -(-requests // processes)
    cpu_at_start = children_cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="seestack-h2load-") as name:
        folder = Path(name)
        commands = []
        for number in range(processes):
            (folder / f"body-{number}").write_bytes(grpc_frame(batches.messages[number]))
            commands.append(_command(target, shape, each, shape.connections // processes, folder, number))
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for command in commands
        ]
        outputs = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise LoadError(f"h2load failed: {outputs[0]}")
        logs = [_read_log(folder / f"log-{number}") for number in range(processes)]
    return _summarize(logs, each, children_cpu_seconds() - cpu_at_start)


def _command(target: Target, shape: Shape, requests: int, connections: int, folder: Path, number: int) -> list[str]:
    return [
        COMMAND,
        f"--requests={requests}",
        f"--clients={connections}",
        "--max-concurrent-streams=1",
        f"--data={folder}/body-{number}",
        f"--log-file={folder}/log-{number}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        f"--header=x-seestack-key: {target.api_key}",
        f"http://{target.grpc[0]}:{target.grpc[1]}{grpc_path(shape.protocol)}",
    ]


def _read_log(path: Path) -> list[tuple[float, float]]:
    """Return begin and end of each request, in seconds. Raises LoadError."""
    times = []
    for line in path.read_text().splitlines():
        begun, status, microseconds = line.split()
        if status != _STATUS_OK:
            raise LoadError(f"an answer of h2load has status {status}")
        times.append((int(begun) / 1e6, (int(begun) + int(microseconds)) / 1e6))
    return times


def _summarize(logs: Sequence[list[tuple[float, float]]], each: int, cpu_seconds: float) -> Load:
    if any(len(log) != each for log in logs):
        raise LoadError(f"h2load lost requests: {each} wanted, {[len(log) for log in logs]} answered")
    first, last = min(log[0][0] for log in logs), max(log[-1][1] for log in logs)
    begin, end = max(log[0][0] for log in logs), min(log[-1][1] for log in logs)
    if begin >= end:  # on a busy machine a short load can be over in one process before another begins
        begin, end = first, last
    latencies = [ended - begun for log in logs for begun, ended in log if begin <= ended <= end]
    return Load(each * len(logs), len(latencies) / (end - begin), latencies, cpu_seconds / (last - first), COMMAND)
