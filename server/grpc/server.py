"""The gRPC server of a worker: a grpc.aio server, which is replaced when a request breaks it."""

import asyncio
import ctypes
import logging
from collections.abc import Callable

import grpc

CHECK_INTERVAL_S = 0.02
MOST_BROKEN = 20  # servers in a process: each keeps some MiB

_logger = logging.getLogger(__name__)


class GrpcServer:
    """A grpc.aio server, replaced by another one when it breaks.

    Up to grpcio 1.85 at least, a request whose path is not UTF-8 ends the loop in which grpc.aio accepts requests, and
    with it the server, but not the process. What is in flight is not affected, so it is finished.
    """

    def __init__(self, create: Callable[[], grpc.aio.Server], grace_s: float) -> None:
        """`create` returns a server that is not started yet; a broken one has `grace_s` to finish what is in flight."""
        self._create = create
        self._grace_s = grace_s
        self._server = create()
        self._stopping: set[asyncio.Task[None]] = set()
        self._broken = 0

    @property
    def is_damaged(self) -> bool:
        """Tell whether this process holds what is left of broken servers."""
        return self._broken > 0

    async def start(self) -> None:
        """Serve from now on."""
        await self._server.start()

    async def watch(self) -> None:
        """Have another server take over whenever one breaks; return when this process should be replaced."""
        while self._broken < MOST_BROKEN:
            try:
                await self._server.wait_for_termination(CHECK_INTERVAL_S)
            except Exception as error:
                _logger.warning("the gRPC server broke (%s); another one takes over", type(error).__name__)
                await self._replace()

    async def stop(self) -> None:
        """Accept no more, and finish what is in flight within the grace period."""
        await asyncio.gather(self._server.stop(self._grace_s), *self._stopping)

    async def _replace(self) -> None:
        self._broken += 1
        # It is never freed: stopping it fails half-way, and freeing what is left of it may end the process.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._server))
        stopping = asyncio.create_task(self._server.stop(self._grace_s))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        self._server = self._create()
        await self._server.start()
