"""The pair of sockets by which front workers hand connections to query processes."""

import asyncio
import socket

from server.query.relay.frames import Connection

_ONE = b"."


def create_channel() -> tuple[int, int]:
    """Return the descriptors of the end for front workers and of that for query processes; both are non-blocking."""
    front, back = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    front.setblocking(False)
    back.setblocking(False)
    return front.detach(), back.detach()


async def connect(front: socket.socket) -> Connection:
    """Return a new connection to whichever query process takes it. Raises OSError when too many wait for that."""
    own, other = socket.socketpair()
    with other:
        try:
            socket.send_fds(front, [_ONE], [other.fileno()])
        except OSError:
            own.close()
            raise
    return Connection(*await asyncio.open_unix_connection(sock=own))


def take(back: socket.socket) -> socket.socket | None:
    """Return a connection that waits, None when another process was faster. Raises OSError."""
    try:
        _, descriptors, *_ = socket.recv_fds(back, len(_ONE), 1)
    except BlockingIOError:
        return None
    return socket.socket(fileno=descriptors[0]) if descriptors else None


async def accept(taken: socket.socket) -> Connection:
    """Return the connection that was taken."""
    return Connection(*await asyncio.open_unix_connection(sock=taken))
