"""Ports of 127.0.0.1 that somebody else has."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def listening_port(*options: int) -> Iterator[int]:
    """Yield a port on which another socket, with these options of SOL_SOCKET, listens."""
    with socket.socket() as listener:
        for option in options:
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port that refuses connections: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
