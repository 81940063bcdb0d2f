"""HTTP load by wrk (https://github.com/wg/wrk), which sends the batches in turn by wrk.lua."""

import json
import subprocess
import tempfile
from pathlib import Path

from bench.connections import LoadError
from bench.data import Batches
from bench.load import Load, children_cpu_seconds
from bench.targets import Shape, Target

COMMAND = "wrk"
_SCRIPT = Path(__file__).with_name("wrk.lua")
# The script ends the run; this only bounds a run in which an answer never comes.
_LONGEST_SECONDS = 60


def run(target: Target, shape: Shape, batches: Batches, seconds: float) -> Load:
    """Load a server for `seconds` and wait for the last answers. Raises LoadError.

    A percentile of wrk counts a slow answer for as many requests as the connection could have made meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="seestack-wrk-") as folder:
        for number, request in enumerate(batches.http_requests, 1):
            (Path(folder) / str(number)).write_bytes(request)
        cpu_at_start = children_cpu_seconds()
        command = [
            COMMAND,
            "--threads=1",
            f"--connections={shape.connections}",
            f"--duration={_LONGEST_SECONDS}",
            f"--timeout={_LONGEST_SECONDS}",
            f"--script={_SCRIPT}",
            f"http://{target.http[0]}:{target.http[1]}/",
            "--",
            *map(str, (folder, len(batches.http_requests), seconds, shape.connections)),
        ]
        finished = subprocess.run(command, capture_output=True, text=True)
        cpu_seconds = children_cpu_seconds() - cpu_at_start
    if finished.returncode or "result " not in finished.stdout:
        raise LoadError(f"wrk failed: {finished.stdout}{finished.stderr}")
    result = json.loads(finished.stdout.partition("result ")[2])
    if result["errors"]:
        raise LoadError(f"{result['errors']} errors or answers that are no success:\n{finished.stdout}")
    requests, elapsed = result["requests"], result["seconds"]
    return Load(requests, requests / elapsed, result["latencies"], cpu_seconds / elapsed, COMMAND)
