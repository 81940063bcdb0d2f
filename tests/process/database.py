"""A Postgres of a test's own, that can be stopped and started: `python -m tests.process.database FOLDER` holds it.

It is held by a process of its own because root starts Postgres as another user, by a fork, which a process with
gRPC calls under way does not survive.
"""

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.embedded.server import EmbeddedServer

_STARTED = "started\n"
_PROJECT = Path(__file__).parents[2]


class Database:
    """A Postgres in a folder, running between entry and exit unless it is stopped meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.url = EmbeddedServer(folder).url
        self._folder = folder
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._holder = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_PROJECT,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == _STARTED

    def stop(self) -> None:
        """Stop it, if it runs, and wait for its end."""
        if self._holder is not None:
            self._holder.communicate()
            assert self._holder.returncode == 0
            self._holder = None


def hold(folder: Path) -> None:
    """Run the Postgres of a folder until standard input ends."""
    with EmbeddedServer(folder):
        sys.stdout.write(_STARTED)
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    hold(Path(sys.argv[1]))
