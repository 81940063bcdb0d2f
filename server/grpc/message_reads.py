"""Bounds the messages that a gRPC worker receives at once: gRPC buffers each until it is complete."""

import asyncio
from collections.abc import Awaitable, Callable

from server.errors import ServiceUnavailableError


class MessageReads:
    """Limits the reads at once. One that takes long is cut off as soon as others wait, so that they never wait long."""

    PATIENCE_S = 2.0

    def __init__(self, at_once: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._reading: dict[asyncio.Timeout, float] = {}  # since when, the longest first
        self._is_watched = False

    async def read(self, read: "Callable[[], Awaitable[bytes | None]]") -> bytes | None:
        """Return what `read` does when it has its turn. Raises ServiceUnavailableError when it takes too long."""
        if self._turns.locked():
            self._watch()
        async with self._turns:
            try:
                async with asyncio.timeout(None) as limit:
                    self._reading[limit] = asyncio.get_running_loop().time()
                    return await read()
            except TimeoutError:
                raise ServiceUnavailableError from None
            finally:
                del self._reading[limit]

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            asyncio.get_running_loop().call_later(self.PATIENCE_S, self._cut_off)

    def _cut_off(self) -> None:
        self._is_watched = False
        if not self._turns.locked():
            return
        now = asyncio.get_running_loop().time()
        for limit, began_at in self._reading.items():
            if began_at <= now - self.PATIENCE_S:
                limit.reschedule(now)
        self._watch()
