"""The folder of the pages in the data folder: only its owner may enter it.

Who can read it can log in as an administrator. It is made when it is first needed.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.private_file import write_private

FOLDER = "pages"
SECRET = "secret"  # noqa: S105 - the name of a file
SECRET_BYTES = 32


class PageFiles:
    """The secret that signs sessions, and marks: empty files that one process makes and another finds."""

    def __init__(self, data_dir: Path) -> None:
        """Use the folder in a data folder; neither need be there yet."""
        self.folder = data_dir / FOLDER
        self._secret = b""
        self._version: tuple[int, int] | None = None

    def secret(self) -> bytes:
        """Return the secret, a new one when there is none. Raises OSError."""
        path = self.folder / SECRET
        try:
            status = path.stat()
            if (status.st_ino, status.st_mtime_ns) != self._version:
                self._secret = path.read_bytes()
                self._version = status.st_ino, status.st_mtime_ns
        except FileNotFoundError:
            self._secret = b""
        if len(self._secret) < SECRET_BYTES:
            self._version = None
            self._secret = self._make_secret(path)
        return self._secret

    def mark(self, kind: str, name: str, lifetime_s: float) -> None:
        """Leave a mark, and remove those of its kind that are older than `lifetime_s`. Raises OSError."""
        marks = self.folder / kind
        with self._locked():
            marks.mkdir(mode=0o700, exist_ok=True)
            (marks / name).touch(mode=0o600)
            for path in marks.iterdir():
                if _age_s(path) > lifetime_s:
                    path.unlink(missing_ok=True)

    def has_mark(self, kind: str, name: str, lifetime_s: float) -> bool:
        """Tell whether there is a mark that is not older than `lifetime_s`."""
        return _age_s(self.folder / kind / name) <= lifetime_s

    def take_mark(self, kind: str, name: str, lifetime_s: float) -> bool:
        """Remove a mark, and tell whether it was there and not older than that: to one caller only. Raises OSError."""
        is_fresh = self.has_mark(kind, name, lifetime_s)
        try:
            (self.folder / kind / name).unlink()
        except FileNotFoundError:
            return False
        return is_fresh

    def _make_secret(self, path: Path) -> bytes:
        with self._locked():
            # Another process may have made it meanwhile.
            with suppress(FileNotFoundError):
                secret = path.read_bytes()
                if len(secret) >= SECRET_BYTES:
                    return secret
            secret = secrets.token_bytes(SECRET_BYTES)
            write_private(path, secret)
            return secret

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Make the folder if need be, and keep other processes from doing what needs this lock."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
