"""A small disk that can be filled up: a tmpfs, which takes the right to mount."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_BYTES = 256 * 2**20

_BALLAST = "ballast"
_CHUNK_BYTES = 2**20


class FaultUnavailableError(Exception):
    """This system cannot have the fault; the message says what it lacks."""


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount an empty disk of SIZE_BYTES at `folder`. Raises FaultUnavailableError."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=0711", "tmpfs", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise FaultUnavailableError(f"it needs the right to mount a small disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, *, left_bytes: int = 0) -> None:
    """Fill the disk of `folder` until `left_bytes` are left; others may be writing to it, too."""
    with (folder / _BALLAST).open("wb", buffering=0) as ballast:
        while (free := _free_bytes(folder) - left_bytes) > 0:
            try:
                ballast.write(bytes(min(free, _CHUNK_BYTES)))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return


def empty(folder: Path) -> None:
    """Take away what `fill` has written."""
    (folder / _BALLAST).unlink()


def _free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
