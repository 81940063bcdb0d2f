"""Accepts and supervises the connections of a worker, whatever is spoken on them, in plain text or over TLS."""

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Final, Protocol

BACKLOG: Final = 1024
CHECK_INTERVAL_S = 1.0
TICK_S: Final = 0.01
HANDSHAKE_TIMEOUT_S = 10.0
# For the last bytes of an answer and the client's close_notify, which many clients do not send.
TLS_CLOSE_TIMEOUT_S: Final = 1.0


class SupervisedConnection(Protocol):
    """A connection, while it is among those of a server."""

    def check(self, now: float) -> None:
        """Do what is due; `now` is the event loop's time in seconds."""

    def stop(self) -> None:
        """Take no more, and close when what is under way has ended."""

    def abort(self) -> None:
        """Close at once."""


class ConnectionServer(ABC):
    """Serves on the running event loop."""

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a bound socket from now on; with `tls`, it speaks TLS only."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connect,
            sock=listener,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if tls is not None else None,
            ssl_shutdown_timeout=TLS_CLOSE_TIMEOUT_S if tls is not None else None,
        )
        self._checker = loop.create_task(self._check_regularly())

    async def stop(self, grace_s: float) -> None:
        """Accept no more, finish what is in flight for at most `grace_s`, then cut off the rest."""
        self._server.close()
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        for connection in list(self._connections()):
            connection.stop()
        while self._connections() and loop.time() < deadline:
            await asyncio.sleep(TICK_S)
        for connection in list(self._connections()):
            connection.abort()
        await asyncio.sleep(0)  # those cut off end what they had under way
        self._checker.cancel()

    @abstractmethod
    def _connect(self) -> asyncio.Protocol:
        """Return what speaks on a new connection."""

    @abstractmethod
    def _connections(self) -> Collection[SupervisedConnection]:
        """Return those that are open."""

    async def _check_regularly(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            now = asyncio.get_running_loop().time()
            for connection in list(self._connections()):
                connection.check(now)
