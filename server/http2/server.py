"""Serves an application over HTTP/2."""

import random
from collections.abc import Collection

from server.http2.application import Application
from server.http2.connection import Connection, Shared
from server.http2.held_bytes import HeldBytes
from server.http2.session import Limits
from server.processes.connection_server import ConnectionServer

_SPREAD = 0.1  # of the age, so that connections made at the same time do not end at the same time


class Http2Server(ConnectionServer):
    """Serves on the running event loop."""

    def __init__(
        self, application: Application, *, max_streams: int, max_connections: int, max_held_bytes: int, max_age_s: float
    ) -> None:
        """`max_streams` are those of a connection; `max_held_bytes` bounds what has come in and was not read."""
        self._shared = Shared(Limits(application, HeldBytes(max_held_bytes), max_streams), max_connections)
        self._max_age_s = max_age_s

    def _connect(self) -> Connection:
        return Connection(self._shared, self._max_age_s * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311

    def _connections(self) -> Collection[Connection]:
        return self._shared.open
