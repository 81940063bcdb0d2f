"""Files that only their owner may read, replaced whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file with `content`, as `replace_private` does. Raises OSError."""
    with replace_private(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replace_private(path: Path) -> Iterator[Path]:
    """Yield an empty file to write to, which takes the place of `path` at the end and is on disk then.

    When this is cut off or ends with an error, what `path` held stays. Raises OSError.
    """
    temporary = path.with_suffix(f".{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
