"""Commands that are expected to fail."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from tests.running_server import COMMAND


@dataclass(frozen=True)
class Failure:
    """How a command failed: its exit code, and the one line it printed."""

    exit_code: int
    line: str


def fail_command(
    *arguments: str, database_url: str | None = None, environment: Mapping[str, str] | None = None
) -> Failure:
    """Run a command and check that it fails with one line on standard error and nothing else."""
    flags = ("--database-url", database_url) if database_url is not None else ()
    done = subprocess.run(
        [COMMAND, *arguments, *flags],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("seestack-ingest: ")
    return Failure(done.returncode, line)
