"""A way to a database that can be shut, as if its server was down."""

from pathlib import Path
from uuid import uuid4

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class DatabaseDoor:
    """A link to the folder of a database's socket: new connections need it to be there."""

    def __init__(self, url: str, folder: Path) -> None:
        self._target = str(conninfo_to_dict(url)["host"])
        self._link = folder / f"door-{uuid4().hex[:8]}"
        self.url = make_conninfo(url, host=str(self._link))
        self.open()

    def open(self) -> None:
        """Let connections be made from now on."""
        self._link.symlink_to(self._target)

    def shut(self) -> None:
        """Let no connection be made; those that are open stay so."""
        self._link.unlink()
