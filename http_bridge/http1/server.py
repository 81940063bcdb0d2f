"""Serves a WSGI application over HTTP/1.1 from an inherited listening socket, in plain text or over TLS."""

import asyncio
import socket
import ssl
from collections.abc import Callable

from http_bridge.http1.connection import Application, HttpConnection
from http_bridge.http1.load_shedding import LoadShedder
from server.errors import IngestError

BACKLOG = 1024
CHECK_INTERVAL_S = 1.0
TICK_S = 0.01
HANDSHAKE_TIMEOUT_S = 10.0
# For the last bytes of an answer and the client's close_notify, which many clients do not send.
TLS_CLOSE_TIMEOUT_S = 1.0


class HttpServer:
    """Accepts and supervises connections, on the running event loop."""

    def __init__(self, application: Application, refuse: Callable[[IngestError], bytes], shedder: LoadShedder) -> None:
        """`refuse` makes the answer to what is not valid HTTP; `shedder` bounds what connections hold."""
        self._application = application
        self._refuse = refuse
        self._shedder = shedder
        self._connections: set[HttpConnection] = set()

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a listening socket from now on; with `tls`, it speaks TLS only."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connect,
            sock=listener,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if tls is not None else None,
            ssl_shutdown_timeout=TLS_CLOSE_TIMEOUT_S if tls is not None else None,
        )
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
            await asyncio.sleep(TICK_S)
        for connection in list(self._connections):
            connection.abort()
        self._checker.cancel()

    def _connect(self) -> HttpConnection:
        return HttpConnection(self._application, self._refuse, self._connections, self._shedder)

    async def _drop_overdue(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            now = asyncio.get_running_loop().time()
            for connection in list(self._connections):
                connection.drop_if_overdue(now)
