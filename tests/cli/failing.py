"""Commands that are expected to fail."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.commands import complete_command


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
    done = complete_command(*arguments, *flags, environment=environment)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("seestack-ingest: ")
    return Failure(done.returncode, line)
