"""Addresses and sockets."""

import errno
import ipaddress
import socket

RECEIVE_BUFFER_BYTES = 2**16

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address to connect to instead


class ListenError(Exception):
    """An address cannot be listened on; the message names it and says why."""

    def __init__(self, message: str, *, is_port_wrong: bool) -> None:
        """`is_port_wrong`: another port would do."""
        super().__init__(message)
        self.is_port_wrong = is_port_wrong


def join_host_port(host: str, port: int) -> str:
    """Return "host:port", an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str, port: int) -> str:
    """Return "host:port" by which this machine reaches a listener on that host and port."""
    return join_host_port(_WILDCARDS.get(host, host), port)


def is_loopback(bound: socket.socket) -> bool:
    """Tell whether only this machine can connect to a socket that is bound to an IP address."""
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


def listen(host: str, port: int, *, backlog: int = 1024) -> socket.socket:
    """Return a listening socket, non-blocking, for worker processes to inherit. Raises ListenError."""
    opened = _bind(host, port)
    # Accepted connections inherit this; without it a small answer waits 40 ms for the client's delayed ACK.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # So much is read of one connection before the others have their turn, and the kernel holds of each.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    opened.listen(backlog)
    opened.setblocking(False)
    return opened


def reserve(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen and keeps the port for sockets with SO_REUSEPORT of this user.

    Raises ListenError when anything, even such a socket, listens there already.
    """
    free_port = _bind(host, port, listening=True)
    port = free_port.getsockname()[1]
    free_port.close()
    return _bind(host, port, reuse_port=True)


def bind_reserved(host: str, port: int) -> socket.socket:
    """Return a non-blocking socket on a port that `reserve` keeps; the kernel spreads connections over all that listen.

    Raises ListenError.
    """
    opened = _bind(host, port, reuse_port=True)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setblocking(False)
    return opened


def _bind(host: str, port: int, *, reuse_port: bool = False, listening: bool = False) -> socket.socket:
    opened = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(address)
        if listening:
            opened.listen(1)
    except OSError as error:
        if opened is not None:
            opened.close()
        message = f"cannot listen on {join_host_port(host, port)}: {error.strerror or error}"
        raise ListenError(message, is_port_wrong=error.errno in (errno.EADDRINUSE, errno.EACCES)) from error
    return opened
