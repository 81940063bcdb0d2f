"""A gRPC server on an event loop in a thread, with methods that do what tests need."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvloop

from server.grpc.application import GrpcApplication
from server.grpc.call import IncomingCall
from server.http2.server import Http2Server

MAX_STREAMS = 20
MAX_CONNECTIONS = 50
MAX_BODY_BYTES = 2**16  # messages of four times that are read
MAX_HELD_BYTES = 2**20
MAX_AGE_S = 600.0


@dataclass
class Methods:
    """The handlers, and what has become of their calls."""

    cancelled: int = 0
    failed: list[str] = field(default_factory=list)

    async def echo(self, call: IncomingCall) -> bytes | None:
        """Answer with the message."""
        return await call.read() or b"none"

    async def echo_single(self, call: IncomingCall) -> bytes | None:
        """Answer with the message, if it is not larger than a body may be."""
        return await call.read_single()

    async def echo_all(self, call: IncomingCall) -> None:
        """Answer each message with the same."""
        while (message := await call.read()) is not None:
            await call.write(message)

    async def count(self, call: IncomingCall) -> bytes:
        """Answer with the number of messages, once all have come."""
        number = 0
        while await call.read() is not None:
            number += 1
        return b"%d" % number

    async def fill(self, call: IncomingCall) -> bytes:
        """Answer with as many bytes as the message says."""
        return b"x" * int(await call.read() or 0)

    async def hang(self, call: IncomingCall) -> None:
        """Never answer, and read nothing."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def refuse(self, call: IncomingCall) -> None:
        """Answer without reading."""
        raise PermissionError("a secret")

    async def metadata(self, call: IncomingCall) -> bytes:
        """Answer with a value of the metadata."""
        return (call.header("x-test") or "none").encode()


@dataclass
class Serving:
    """A server that runs."""

    port: int
    methods: Methods
    server: Http2Server
    loop: asyncio.AbstractEventLoop

    def stop(self, grace_s: float) -> None:
        """Stop it; return when it has stopped."""
        asyncio.run_coroutine_threadsafe(self.server.stop(grace_s), self.loop).result()


@contextmanager
def serve(tls: ssl.SSLContext | None = None, *, max_age_s: float = MAX_AGE_S) -> Iterator[Serving]:
    """Run a server in a thread."""
    methods, loop = Methods(), uvloop.new_event_loop()
    table = {
        f"test.Test/{name}": getattr(methods, name)
        for name in ("echo", "echo_single", "echo_all", "count", "fill", "hang", "refuse", "metadata")
    }
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def start() -> Http2Server:
        server = Http2Server(
            GrpcApplication(table, MAX_BODY_BYTES),
            max_streams=MAX_STREAMS,
            max_connections=MAX_CONNECTIONS,
            max_held_bytes=MAX_HELD_BYTES,
            max_age_s=max_age_s,
        )
        await server.start(listener, tls)
        return server

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    serving = Serving(listener.getsockname()[1], methods, server, loop)
    try:
        yield serving
    finally:
        serving.stop(0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
