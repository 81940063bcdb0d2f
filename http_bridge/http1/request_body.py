"""The body of a request while it is received."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from http_bridge.http1.load_shedding import LoadShedder
from server.errors import IngestError


class RequestBody:
    """The `wsgi.input` of a request; its `read` is awaited while bytes arrive from the connection."""

    # Reading from the connection may pause while more than this waits to be read by the application.
    BUFFERED_BYTES = 2**16

    def __init__(self, on_read: Callable[[], None], shedder: LoadShedder) -> None:
        """`on_read` is called whenever the application waits for more than there is."""
        self._on_read = on_read
        self._shedder = shedder
        self._chunks: list[bytes] = []
        self.size = 0  # of what has come and was not read
        self._wanted = 0
        self._ended = False
        self._is_closed = False
        self._is_cut = False  # the reader was told that it will never be complete
        # Whether the client waits for 100 Continue (RFC 9110, 10.1.1).
        self.awaits_continue = False
        self._error: IngestError | None = None
        self._changed: asyncio.Future[None] | None = None

    @property
    def is_complete(self) -> bool:
        """Tell whether all of the body has arrived."""
        return self._ended and self._error is None and not self._is_cut

    @property
    def is_full(self) -> bool:
        """Tell whether as much is buffered as is needed for now."""
        return self.size > max(self._wanted, self.BUFFERED_BYTES)

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        if self._is_closed:
            return
        self._chunks.append(data)
        self._keep(self._chunks, self.size + len(data))
        if self.size >= self._wanted:
            self._wake()

    def end(self, error: IngestError | None = None) -> None:
        """Mark the end of the body, or that it will never be complete: `error` is then raised to the reader."""
        self._ended = True
        if error is not None:
            self._error = error
            self._keep([], 0)
        self._wake()

    async def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end of the body. Raises what `end` was told."""
        await self._wait_for(size)
        data = b"".join(self._chunks)
        rest = data[size:]
        self._keep([rest] if rest else [], len(rest))
        return data[:size] if rest else data

    async def discard(self, most: int) -> None:
        """Drop what is left of the body as it comes, until more than `most` bytes were dropped."""
        with suppress(IngestError):
            while most > 0:
                await self._wait_for(1)
                if self.size == 0:
                    return
                most -= self.size
                self._keep([], 0)

    def close(self) -> None:
        """Drop what was not read, and what may still come: it will not be read."""
        self._is_closed = True
        self._keep([], 0)

    def _keep(self, chunks: list[bytes], size: int) -> None:
        self._shedder.held_bytes += size - self.size
        self._chunks, self.size = chunks, size

    async def _wait_for(self, size: int) -> None:
        """Wait until `size` bytes are there, or the end of the body. Raises what `end` was told, once."""
        self._wanted = size
        while self.size < size and not self._ended:
            self._changed = asyncio.get_running_loop().create_future()
            self._on_read()
            await self._changed
        self._wanted = 0
        if self._error is not None:
            error, self._error = self._error, None
            self._is_cut = True
            raise error

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
