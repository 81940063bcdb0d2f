"""What the page of a project without requests offers to paste: commands that send a first one."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flask import request

from http_bridge.pages.sessions import current_session
from server.access.credentials import read_credentials
from server.settings import Settings

PLACEHOLDER: Final = "YOUR_KEY"

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Example:
    """What the commands are made of; `has_key` says whether the key is a real one."""

    project_id: str
    project_name: str
    key: str
    has_key: bool
    url: str
    grpc_target: str
    is_plain: bool


class Start:
    """Makes examples for whoever is logged in."""

    def __init__(self, data_dir: Path, grpc_port: int) -> None:
        """`grpc_port` is where gRPC is served."""
        self._data_dir = data_dir
        self._grpc_port = grpc_port

    @classmethod
    def of(cls, settings: Settings) -> "Start":
        """Return it for a server with those settings."""
        return cls(settings.data_dir, settings.grpc_port)

    def example(self) -> Example:
        """Return what to paste; the key to send is shown to administrators alone, since others may only read."""
        session = current_session()
        credentials = read_credentials(self._data_dir) if session.is_admin else None
        is_own = credentials is not None and credentials.project_id == session.project_id
        key = credentials.api_key if credentials is not None and is_own else None
        host = request.host if _HOST.fullmatch(request.host) else "localhost"
        return Example(
            session.project_id,
            session.project_name,
            key or PLACEHOLDER,
            key is not None,
            f"{request.scheme}://{host}",
            f"{_name_of(host)}:{self._grpc_port}",
            request.scheme == "http",
        )


def _name_of(host: str) -> str:
    """Return a host without its port."""
    found = _HOST.fullmatch(host)
    return found[1] if found is not None else host
