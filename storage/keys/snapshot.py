"""A copy of the valid API keys on the local disk, for while the database is down."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

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
        try:
            version = self._path.stat().st_mtime_ns
            if version != self._read_version:
                self._keys = msgspec.json.decode(self._path.read_bytes(), type=dict[str, ApiKey])
                self._read_version = version
        except (OSError, msgspec.DecodeError):
            return None
        return self._keys.get(_text(digest))


def _text(digest: bytes) -> str:
    return b64encode(digest).decode()
