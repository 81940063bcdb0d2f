"""Connections to Postgres: one short-lived for commands; for servers, single ones and a pool on their event loop."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, overload

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.errors import ConnectionTimeout
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from storage.errors import StorageUnavailableError, UnsupportedDatabaseError

Result = TypeVar("Result")

MIN_POSTGRES_MAJOR = 15
CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 5.0
UNREADABLE_URL = "cannot connect to the database: its URL cannot be read; special characters must be percent-encoded"

# Idle connections over a network must notice a peer that vanished (times in seconds).
_CONNECTION_SETTINGS: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # in ms
    "autocommit": True,
    # Older PgBouncers lose prepared statements when a client changes its server connection.
    "prepare_threshold": None,
}

# Whatever the role's or the database's defaults say, times are written in a form that can be read back. PgBouncer keeps
# these two for a client while it changes its server connection; all other settings may only be made for a transaction.
_SESSION_SETTINGS = "SELECT set_config('datestyle', 'ISO', false), set_config('timezone', 'UTC', false)"
# In a transaction: its commit is on disk before it is acknowledged, whatever the default is.
DURABLE = "set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true)"

_READY = """
SELECT NOT pg_is_in_recovery()
   AND current_setting('transaction_read_only') = 'off'
   AND has_table_privilege('http_request_rows', 'INSERT')
"""


# Connections reserved for administrators do not count, whichever role this is. A limit of -1 is none.
_ALLOWED = """
SELECT least(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0),
    (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
    (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
)
"""
_ON_A_NODE = "failure on connection marked as essential"
_READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"


AnyConnection = TypeVar("AnyConnection", bound=psycopg.Connection)


@overload
def connect(url: str, *, name: str = ...) -> AbstractContextManager[psycopg.Connection]: ...
@overload
def connect(url: str, kind: type[AnyConnection], *, name: str = ...) -> AbstractContextManager[AnyConnection]: ...
@contextmanager
def connect(url: str, kind: type[psycopg.Connection] = psycopg.Connection, *, name: str = "") -> Iterator[Any]:
    """Open one autocommit connection to `url` (a libpq URL), of that kind, and close it at the end.

    `name` shows in the database's list of connections, after the program's.
    Raises StorageUnavailableError when the server cannot be reached or refuses the connection, and
    UnsupportedDatabaseError when it is too old.
    """
    try:
        connection = kind.connect(url, **_server_settings(name))
    except psycopg.ProgrammingError:
        # libpq quotes what it cannot read, which may be part of a password.
        raise StorageUnavailableError(UNREADABLE_URL) from None
    except psycopg.Error as error:
        raise StorageUnavailableError(f"cannot connect to the database: {_first_line(error)}") from error
    with connection:
        _check_version(connection)
        connection.execute(_SESSION_SETTINGS)
        yield connection


@contextmanager
def durable_transaction(connection: psycopg.Connection) -> Iterator[None]:
    """Run a transaction, or a part of one, whose commit is on disk at the end."""
    with connection.transaction():
        connection.execute(f"SELECT {DURABLE}")
        yield


def set_lock_timeout(connection: psycopg.Connection, timeout: str) -> None:
    """Bound each wait for a lock until the transaction ends, also those that Citus has on nodes. Raises psycopg.Error.

    Of all settings Citus passes on to nodes only those made by SET LOCAL, and only when told to.
    """
    connection.execute("SET LOCAL citus.propagate_set_commands = 'local'")
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(timeout))


@contextmanager
def naming_lock_timeouts() -> Iterator[None]:
    """Raise psycopg.errors.LockNotAvailable when a transaction fails as Citus has it fail for a lock of a node, too.

    When several nodes were asked at once, what one of them said is not passed on.
    """
    try:
        yield
    except psycopg.errors.InternalError_ as error:
        if _ON_A_NODE not in str(error):
            raise
        raise psycopg.errors.LockNotAvailable(str(error)) from error


async def connect_async(url: str, *, name: str) -> AsyncConnection:
    """Open one autocommit connection to `url` for an event loop; its owner closes it.

    Raises psycopg.OperationalError when the server cannot be reached or refuses the connection.
    """
    connection = await connect_unset(url, name=name)
    try:
        await _configure_async(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


async def connect_unset(url: str, *, name: str) -> AsyncConnection:
    """Open a connection as `connect_async` does, with the settings of the role and the database as they are."""
    return await AsyncConnection.connect(url, **_server_settings(name))


def open_pool(
    url: str, *, size: int, name: str, on_connect: Callable[[AsyncConnection], None] = lambda connection: None
) -> AsyncConnectionPool:
    """Return a pool of at most `size` autocommit connections for the running event loop; it fills in the background.

    `on_connect` is called with each new connection, before it is used.

    The database need not be up: asking the pool for a connection then raises psycopg_pool.PoolTimeout, which is a
    psycopg.OperationalError, after POOL_TIMEOUT_S.
    """

    async def configure(connection: AsyncConnection) -> None:
        on_connect(connection)
        await _configure_async(connection)

    return AsyncConnectionPool(
        url,
        min_size=1,
        max_size=size,
        open=False,
        name=name,
        timeout=POOL_TIMEOUT_S,
        reconnect_timeout=0,
        configure=configure,
        kwargs=_server_settings(name),
    )


async def run(
    pool: AsyncConnectionPool, action: "Callable[[AsyncConnection], Awaitable[Result]]", timeout_s: float
) -> "Result":
    """Return what `action` returns; it is called again when its connection turns out to be lost.

    Raises psycopg.Error; when the server gives no connection or no answer within `timeout_s`, a PoolTimeout or a
    ConnectionTimeout, which are OperationalErrors.
    """
    # When one connection was lost, the others in the pool probably were, too.
    for _ in range(pool.max_size):
        try:
            return await _run_once(pool, action, timeout_s)
        except (PoolTimeout, ConnectionTimeout):
            raise
        except psycopg.OperationalError:
            continue
    return await _run_once(pool, action, timeout_s)


async def _run_once(
    pool: AsyncConnectionPool, action: "Callable[[AsyncConnection], Awaitable[Result]]", timeout_s: float
) -> "Result":
    async with pool.connection(timeout=timeout_s) as connection:
        with cut_off_after(connection, timeout_s):
            return await action(connection)


@contextmanager
def cut_off_after(connection: AsyncConnection, timeout_s: float) -> Iterator[None]:
    """Close the connection when what is done with it takes longer than `timeout_s`.

    The driver's own way of cancelling waits for an answer of the server, which may be what is missing.
    """
    is_cut_off = False

    def cut_off() -> None:
        nonlocal is_cut_off
        is_cut_off = True
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as shared:
            shared.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(timeout_s, cut_off)
    try:
        yield
    except psycopg.OperationalError as error:
        if is_cut_off:
            raise ConnectionTimeout("the database does not answer") from error
        raise
    finally:
        timer.cancel()


async def check_ready(pool: AsyncConnectionPool, timeout_s: float = 2.0) -> None:
    """Ask the database whether a batch could be stored now.

    Raises StorageUnavailableError saying why not: unreachable, read-only, in recovery, or without the table.
    """

    async def ask(connection: AsyncConnection) -> TupleRow | None:
        return await (await connection.execute(_READY)).fetchone()

    try:
        row = await run(pool, ask, timeout_s)
    except PoolTimeout as error:
        raise StorageUnavailableError("the database cannot be reached") from error
    except psycopg.Error as error:
        raise StorageUnavailableError(_first_line(error)) from error
    if row is None or not row[0]:
        raise StorageUnavailableError("the database is read-only for this server")


def require_writable(connection: psycopg.Connection) -> None:
    """Raise StorageUnavailableError when the database takes no rows: in recovery, or read-only by default."""
    if connection.execute(_READ_ONLY).fetchone() != (False,):
        raise StorageUnavailableError("the database is read-only for this server")


def connections_allowed(connection: psycopg.Connection) -> int:
    """Return how many connections the server grants to the role of this one, in this database."""
    row = connection.execute(_ALLOWED).fetchone()
    return row[0] if row else 0


def is_pooled(connection: psycopg.Connection) -> bool:
    """Tell whether a pooler such as PgBouncer is in between: it gives its clients invented process ids."""
    return connection.execute("SELECT pg_backend_pid()").fetchone() != (connection.info.backend_pid,)


def _check_version(connection: psycopg.Connection) -> None:
    version = connection.info.server_version
    if version < MIN_POSTGRES_MAJOR * 10_000:
        found = f"{version // 10_000}.{version % 10_000}"
        raise UnsupportedDatabaseError(f"this is Postgres {found}; {MIN_POSTGRES_MAJOR} or newer is needed")


def _server_settings(name: str) -> dict[str, Any]:
    return {"application_name": f"seestack-ingest {name}".rstrip(), **_CONNECTION_SETTINGS}


async def _configure_async(connection: AsyncConnection) -> None:
    with cut_off_after(connection, CONNECT_TIMEOUT_S):
        await connection.execute(_SESSION_SETTINGS)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
