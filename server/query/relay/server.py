"""The side of the relay in a query process: it takes connections and answers the call of each."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from server.access.tasks import Task
from server.query.relay.channel import accept, take
from server.query.relay.frames import Call, Connection

# Calls under way in a process; further ones wait in the channel, for another process or their turn.
MOST_CALLS = 100
CALL_TIMEOUT_S = 10.0

_logger = logging.getLogger(__name__)

Answer = Callable[[Call, Connection], Coroutine[Any, Any, None]]
Perform = Callable[[Task, Connection], Coroutine[Any, Any, None]]


class RelayServer:
    """Serves the channel, on the event loop of a query process."""

    def __init__(self, back_fd: int, answer: Answer, perform: Perform) -> None:
        """`back_fd` is the end of the channel for query processes; both functions send all frames of an answer."""
        self._back = socket.socket(fileno=back_fd)
        self._answer = answer
        self._perform = perform
        self._calls: set[asyncio.Task[None]] = set()
        self._is_taking = False
        self._is_stopping = False

    def start(self) -> None:
        """Take calls from now on."""
        if not self._is_taking and not self._is_stopping:
            self._is_taking = True
            asyncio.get_running_loop().add_reader(self._back.fileno(), self._take)

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight for at most `grace_s`, then cut off the rest."""
        self._is_stopping = True
        self._pause()
        if self._calls:
            await asyncio.wait(self._calls, timeout=grace_s)
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    def _pause(self) -> None:
        if self._is_taking:
            self._is_taking = False
            asyncio.get_running_loop().remove_reader(self._back.fileno())

    def _take(self) -> None:
        taken = take(self._back)
        if taken is None:
            return
        call = asyncio.create_task(self._serve(taken))
        self._calls.add(call)
        call.add_done_callback(self._forget)
        if len(self._calls) >= MOST_CALLS:
            self._pause()

    def _forget(self, call: "asyncio.Task[None]") -> None:
        was_full = len(self._calls) >= MOST_CALLS
        self._calls.discard(call)
        if was_full:
            self.start()

    async def _serve(self, taken: socket.socket) -> None:
        connection = await accept(taken)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                _, payload = await connection.receive()
            call = msgspec.msgpack.decode(payload, type=Call | Task)
            answer = self._answer(call, connection) if isinstance(call, Call) else self._perform(call, connection)
            answering = asyncio.create_task(answer)
            leaving = asyncio.create_task(connection.closed())
            try:
                await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
                answering.cancel()
                await asyncio.wait((answering, leaving))
            if not answering.cancelled():
                answering.result()
        except (ConnectionError, TimeoutError):
            pass  # the client, or the worker that it was connected to, is gone
        except Exception:
            _logger.exception("a query failed")
        finally:
            connection.close()
