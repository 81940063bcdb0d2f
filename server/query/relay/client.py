"""The front side of the relay: it asks a query process, and hands on what that answers."""

import asyncio
import logging
import socket
from contextlib import suppress

import msgspec

from server.access.tasks import Task
from server.errors import ServiceUnavailableError
from server.query.relay.channel import connect
from server.query.relay.frames import Call, Connection, Headers, Kind, Refusal

# Longer than any query may take; by then no query process runs.
START_TIMEOUT_S = 30.0

_logger = logging.getLogger(__name__)


class Reply:
    """The answer to a call: its headers, then its messages."""

    def __init__(self, connection: Connection, headers: Headers) -> None:
        self.headers = headers
        self._connection = connection

    async def read(self) -> bytes | None:
        """Return the next message, None after the last. Raises IngestError for a refusal, and for a lost process."""
        try:
            kind, payload = await self._connection.receive()
        except ConnectionError as error:
            _logger.warning("a query was cut off: its query process ended")
            raise ServiceUnavailableError from error
        if kind is Kind.MESSAGE:
            return payload
        refusal = msgspec.msgpack.decode(payload, type=Refusal | None)
        if refusal is not None:
            raise refusal.to_error()
        return None

    def close(self) -> None:
        """Release the connection; a query that is still under way is cancelled."""
        self._connection.close()


class QueryRelay:
    """Asks query processes, on the event loop of a front worker."""

    def __init__(self, front_fd: int) -> None:
        """`front_fd` is the front end of the channel."""
        self._front = socket.socket(fileno=front_fd)

    async def perform(self, task: Task) -> bytes:
        """Have a task done and return its answer in msgpack. Raises IngestError as `Reply.read` does."""
        reply = await self.ask(task)
        try:
            return await reply.read() or b""
        finally:
            reply.close()

    async def ask(self, call: Call | Task) -> Reply:
        """Send a call and return its answer, once that begins. Raises ServiceUnavailableError."""
        try:
            connection = await connect(self._front)
        except OSError as error:
            _logger.warning("a query was refused: too many wait for a query process")
            raise ServiceUnavailableError from error
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await connection.send(Kind.CALL, call)
                _, headers = await connection.receive()
        except BaseException as error:
            with suppress(ConnectionError):
                connection.close()
            if isinstance(error, ConnectionError | TimeoutError):
                _logger.warning("a query was refused: no query process answered it")
                raise ServiceUnavailableError from error
            raise
        return Reply(connection, msgspec.msgpack.decode(headers, type=dict[str, str]))
