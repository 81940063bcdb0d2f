"""Whether a Postgres refuses a connection for a permanent reason.

A wrong password is not an outage: waiting does not help. libpq says why it got no connection in the language of the
server; the SQLSTATE is in its trace only.
"""

import os
import re
import select
import time

from psycopg import pq
from psycopg.pq import ConnStatus, PollingStatus
from psycopg.pq.abc import PGconn

from storage.database import CONNECT_TIMEOUT_S

# SQLSTATEs, and a class of them: a wrong user or password, no such database, no right to connect to it.
_PERMANENT = ("28", "3D000", "42501")

_ERROR_RESPONSE = re.compile(rb'\tErrorResponse\t S "[^"]*"(?: V "[A-Z]*")? C "(\w{5})"')


def is_refused_for_good(url: str) -> bool:
    """Try to connect to `url`, and tell whether the server refuses for a reason that only a person can remove."""
    codes = _ERROR_RESPONSE.findall(_trace_connecting(url))
    return bool(codes) and codes[-1].decode().startswith(_PERMANENT)


def _trace_connecting(url: str) -> bytes:
    """Return libpq's trace of an attempt to connect."""
    connection = pq.PGconn.connect_start(url.encode())
    with open(os.memfd_create("trace"), "w+b") as trace:  # it may hold the password
        connection.trace(trace.fileno())
        _poll(connection, time.monotonic() + CONNECT_TIMEOUT_S)
        connection.untrace()
        connection.finish()
        trace.seek(0)
        return trace.read()


def _poll(connection: PGconn, deadline: float) -> None:
    while connection.status != ConnStatus.BAD and time.monotonic() < deadline:
        state = connection.connect_poll()
        if state not in (PollingStatus.READING, PollingStatus.WRITING):
            return
        sockets = [connection.socket]
        readable, writable = (sockets, []) if state == PollingStatus.READING else ([], sockets)
        select.select(readable, writable, [], max(0.0, deadline - time.monotonic()))
