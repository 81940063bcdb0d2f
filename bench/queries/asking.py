"""A server on the database of the settings, and a client that asks it over HTTP and takes the time."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

from bench.processes import COMMAND, wait_for_ports

ROOT = "/api/v1/http-requests"


class Asker:
    """Asks with a key to read, over one connection."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", port)
        self._key = key

    def ask(self, question: str, **parameters: Any) -> tuple[Any, float]:
        """Return the answer's data, and the milliseconds that it took."""
        path = f"{ROOT}/{question}?{urlencode(parameters)}".replace("/?", "?")
        began = time.perf_counter()
        self._connection.request("GET", path, headers={"X-SeeStack-Key": self._key})
        body = self._connection.getresponse().read()
        milliseconds = (time.perf_counter() - began) * 1000
        answer = json.loads(body)
        if not answer["success"]:
            raise RuntimeError(f"{path}: {answer}")
        return answer["data"], milliseconds


@contextmanager
def run_on(database_url: str) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server on a database; gives its HTTP port, and its main process."""
    with tempfile.TemporaryDirectory(prefix="seestack-bench-") as folder:
        log = Path(folder) / "log"
        ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
        with log.open("w") as output:
            process = subprocess.Popen(
                [COMMAND, "serve", "--data-dir", folder, "--database-url", database_url, *ports],
                stdout=output,
                stderr=output,
                env=os.environ,
            )
        try:
            yield wait_for_ports(process, log)[0], psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
