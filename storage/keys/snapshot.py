"""A copy of the valid API keys on the local disk, for while the database is down."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import msgspec

from storage.keys.api_keys import ApiKey
from storage.private_file import write_private

FILE = "known-keys.json"


class KeySnapshot:
    """A file of keys by digest: one process writes it, others look keys up."""

    def __init__(self, folder: Path) -> None:
        """Use the file in a data folder; it need not be there yet."""
        self._path = folder / FILE
        self._read_version = 0
        self._keys: dict[str, ApiKey] = {}

    @property
    def folder(self) -> Path:
        """The folder that the file is in."""
        return self._path.parent

    @property
    def exists(self) -> bool:
        """Tell whether keys were ever written."""
        return self._path.exists()

    def save(self, keys: Mapping[bytes, ApiKey]) -> None:
        """Replace the file, whole or not at all; only its owner may read it. Raises OSError."""
        content = msgspec.json.encode({_text(digest): key for digest, key in keys.items()})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_private(self._path, content)

    def find(self, digest: bytes) -> ApiKey | None:
        """Return the key of a digest; None when it was not valid, or not there, when the file was last written."""
        return self._current().get(_text(digest))

    def project_of(self, number: int) -> UUID | None:
        """Return the id of the project that has this number; None when no key in the file is of it."""
        return next((key.project_id for key in self._current().values() if key.project_number == number), None)

    def _current(self) -> dict[str, ApiKey]:
        """Return what the file holds: nothing when an earlier version wrote it, without the numbers of projects."""
        try:
            version = self._path.stat().st_mtime_ns
            if version != self._read_version:
                self._keys = msgspec.json.decode(self._path.read_bytes(), type=dict[str, ApiKey])
                self._read_version = version
        except (OSError, msgspec.DecodeError):
            return {}
        return self._keys


def _text(digest: bytes) -> str:
    return b64encode(digest).decode()
