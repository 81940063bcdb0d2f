"""The credentials file: the first project of an embedded database and its keys."""

from pathlib import Path

import msgspec

from storage.private_file import write_private

FILE = "credentials.json"


class Credentials(msgspec.Struct, frozen=True, rename="camel"):
    """What the file holds: `{"projectId": "...", "apiKey": "...", "readKey": "..."}`, keys in their raw form.

    A key is None once it was revoked, and `read_key` UNSET in a file from before there were such keys.
    """

    project_id: str
    api_key: str | None
    read_key: str | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def raw_keys(self) -> dict[str, str]:
        """The keys that are there, by the name of their field."""
        keys = {"api_key": self.api_key, "read_key": self.read_key}
        return {name: key for name, key in keys.items() if isinstance(key, str)}


def credentials_path(data_dir: Path) -> Path:
    """Return where the file is."""
    return data_dir / FILE


def read_credentials(data_dir: Path) -> Credentials | None:
    """Return what the file holds; None when there is no such file to read."""
    try:
        return msgspec.json.decode(credentials_path(data_dir).read_bytes(), type=Credentials)
    except (OSError, msgspec.DecodeError):
        return None


def write_credentials(data_dir: Path, credentials: Credentials) -> None:
    """Replace the file, or remove it when no key is left. Raises OSError."""
    if credentials.raw_keys:
        content = msgspec.json.format(msgspec.json.encode(credentials), indent=2)
        write_private(credentials_path(data_dir), content + b"\n")
    else:
        credentials_path(data_dir).unlink()
