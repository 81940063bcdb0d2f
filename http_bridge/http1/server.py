"""Serves a WSGI application over HTTP/1.1."""

from collections.abc import Callable, Collection

from http_bridge.http1.connection import Application, HttpConnection
from http_bridge.http1.load_shedding import LoadShedder
from server.errors import IngestError
from server.processes.connection_server import ConnectionServer


class HttpServer(ConnectionServer):
    """Serves on the running event loop."""

    def __init__(self, application: Application, refuse: Callable[[IngestError], bytes], shedder: LoadShedder) -> None:
        """`refuse` makes the answer to what is not valid HTTP; `shedder` bounds what connections hold."""
        self._application = application
        self._refuse = refuse
        self._shedder = shedder
        self._open: set[HttpConnection] = set()

    def _connect(self) -> HttpConnection:
        return HttpConnection(self._application, self._refuse, self._open, self._shedder)

    def _connections(self) -> Collection[HttpConnection]:
        return self._open
