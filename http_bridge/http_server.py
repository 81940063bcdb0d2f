"""Serves a WSGI application over HTTP/1.1 from an inherited listening socket."""

import asyncio
import socket
from collections.abc import Callable

from http_bridge.http_connection import Application, HttpConnection
from server.errors import IngestError

BACKLOG = 1024
CHECK_INTERVAL_S = 1.0


class HttpServer:
    """Accepts connections and looks after them, on the running event loop."""

    def __init__(self, application: Application, refuse: Callable[[IngestError], bytes]) -> None:
        """`refuse` makes the answer to what is no HTTP."""
        self._application = application
        self._refuse = refuse
        self._connections: set[HttpConnection] = set()

    async def start(self, listener: socket.socket) -> None:
        """Serve on a listening socket from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, sock=listener, backlog=BACKLOG)
        self._checker = loop.create_task(self._drop_overdue())

    async def stop(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight for at most `grace_s`, then cut off the rest."""
        self._server.close()
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        for connection in list(self._connections):
            connection.stop()
        while self._connections and loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()
        self._checker.cancel()

    def _connect(self) -> HttpConnection:
        return HttpConnection(self._application, self._refuse, self._connections)

    async def _drop_overdue(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            now = asyncio.get_running_loop().time()
            for connection in list(self._connections):
                connection.drop_if_overdue(now)
