"""The server of an earlier commit, from this repository's history: for upgrades."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.faults.disk import FaultUnavailableError

ROOT = Path(__file__).parents[2]
# The last commit whose spool is of version 1.
SPOOL_VERSION_1 = "8ea1d474880682308a460c1520b103fd33c0f168"

_MAIN = "from server.cli import main; main()"


@dataclass(frozen=True)
class OlderServer:
    """Code of an earlier commit, run with the packages that are installed now."""

    folder: Path

    @property
    def command(self) -> list[str]:
        """What to run instead of `seestack-ingest`."""
        return [sys.executable, "-c", _MAIN]

    @property
    def environment(self) -> dict[str, str]:
        """What makes its processes take that code."""
        return {"PYTHONPATH": f"{self.folder}:{self.folder / 'proto'}"}


@contextmanager
def older_server(commit: str) -> Iterator[OlderServer]:
    """Yield the server of a commit. Raises FaultUnavailableError without git or that commit."""
    try:
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise FaultUnavailableError(f"it needs the history of this repository back to {commit[:7]}") from error
    with TemporaryDirectory(prefix="seestack-older-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield OlderServer(Path(folder))
