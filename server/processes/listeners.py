"""The sockets of a gRPC server, which gRPC itself does not hand out: found among this process's open files."""

import asyncio
import ctypes
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress

# Longer than it takes to complete a TCP handshake, and shorter than the second after which a client repeats its SYN.
DRAIN_S = 0.5

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
# A classic BPF program (linux/filter.h; code, jump if true, jump if false, operand) that drops each segment which
# asks for a new connection: flags = byte 13 of the TCP header; if flags & (SYN | ACK) == SYN: drop; else: keep.
_DROP_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF))


async def close_listeners(port: int) -> None:
    """Stop listening on a port without losing a connection; other processes listen there by SO_REUSEPORT.

    The kernel resets connections that wait to be accepted when their listener is closed. So no new ones are let in
    first; a client that is turned away there asks again after a second, and finds the other listeners only.
    """
    listeners = [each for each in _sockets_of(port) if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _DROP_SYN))
    for listener in listeners:
        # Some systems let nobody but root do this; a connection that comes at the last moment may then be reset.
        with suppress(PermissionError):
            listener.setsockopt(
                socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
            )
    await asyncio.sleep(DRAIN_S)
    for listener in listeners:
        # One of several descriptors of the same socket may have been shut down already.
        with listener, suppress(OSError):
            listener.shutdown(socket.SHUT_RD)


def has_connections(port: int) -> bool:
    """Tell whether clients are connected to a port of this process that does not listen any more."""
    for each in _sockets_of(port):
        with each, suppress(OSError):
            each.getpeername()
            return True
    return False


def _sockets_of(port: int) -> Iterator[socket.socket]:
    """Yield another descriptor for each socket of this process that is bound to `port`; to be closed."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        except OSError:  # closed meanwhile
            continue
        if is_socket:
            found = socket.socket(fileno=os.dup(descriptor))
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] == port:
                yield found
            else:
                found.close()
