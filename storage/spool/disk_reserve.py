"""Disk space reserved for draining a spool on a full disk: removing batches writes, too."""

import os
from contextlib import suppress
from pathlib import Path


class DiskReserve:
    """A file that only takes up space, and is removed when that space is needed. Several processes may share it."""

    def __init__(self, path: Path, size: int) -> None:
        """`size` is in bytes."""
        self._path = path
        self._size = size

    def is_kept(self) -> bool:
        """Tell whether the space is reserved, by now at least; False when the disk has no room for it."""
        with suppress(FileNotFoundError):
            if self._path.stat().st_size >= self._size:
                return True
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Free the space; False when it was not reserved."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True
