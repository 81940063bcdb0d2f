"""The HTTP server on an event loop in a thread of this process, in front of an application of the test's own."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil
import pytest
import uvloop

from http_bridge import responses
from http_bridge.http1 import greenlets
from http_bridge.http1.connection import Application
from http_bridge.http1.load_shedding import LoadShedder
from http_bridge.http1.server import HttpServer
from tests.patience import PATIENCE_S

Result = TypeVar("Result")


class AheadLoop(uvloop.Loop):
    """An event loop whose clock can be put forward for those who read it; timers run by the real one."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


@dataclass
class LoopThread:
    """An event loop that runs in a thread, and what went wrong on it without anybody being told."""

    loop: AheadLoop
    problems: list[dict[str, Any]] = field(default_factory=list)

    def run(self, coroutine: "Coroutine[Any, Any, Result]") -> "Result":
        """Return what a coroutine gives."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)

    def call(self, function: "Callable[[], Result]") -> "Result":
        """Return what a function gives when it is called on the event loop."""

        async def call() -> "Result":
            return function()

        return self.run(call())


@contextmanager
def run_loop() -> Iterator[LoopThread]:
    """Run an event loop, of the kind that the server uses, in a thread."""
    with pytest.MonkeyPatch.context() as patch:
        # Greenlets belong to the thread that made them.
        patch.setattr(greenlets, "_idle", [])
        running = LoopThread(AheadLoop())
        running.loop.set_exception_handler(lambda _, context: running.problems.append(context))
        thread = threading.Thread(target=running.loop.run_forever)
        thread.start()
        try:
            yield running
        finally:
            running.loop.call_soon_threadsafe(running.loop.stop)
            thread.join()
            running.loop.close()


@dataclass
class InProcess:
    """A server that runs in this process."""

    port: int
    server: HttpServer
    thread: LoopThread

    def stop(self, grace_s: float = 0.0) -> None:
        """Stop as SIGTERM does."""
        self.thread.run(self.server.stop(grace_s))


@contextmanager
def serve(
    application: Application,
    *,
    send_buffer: int | None = None,
    tls: ssl.SSLContext | None = None,
    max_connections: int = 2**20,
    max_held_bytes: int = 2**40,
) -> Iterator[InProcess]:
    """Serve an application on a free port; at the end no exception must have gone astray.

    `send_buffer` is in bytes; with a small one, answers wait in the server as soon as a client does not read.
    """
    with run_loop() as thread:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        port = listener.getsockname()[1]
        server = thread.call(
            lambda: HttpServer(application, responses.refusal, LoadShedder(max_connections, max_held_bytes))
        )
        thread.run(server.start(listener, tls))
        running = InProcess(port, server, thread)
        try:
            yield running
        finally:
            running.stop()
        assert thread.problems == []


def count_connections(running: InProcess) -> int:
    """Return how many connections the server holds open."""
    opened = psutil.Process().net_connections("tcp")
    return sum(1 for one in opened if one.laddr.port == running.port and one.raddr)
