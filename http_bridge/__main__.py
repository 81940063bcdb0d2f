"""A process that serves HTTP: `python -m http_bridge`, started by the supervisor."""

import asyncio
import signal
import socket

import uvloop

from http_bridge import responses
from http_bridge.app import create_app
from http_bridge.http_server import HttpServer
from server.worker import Worker


async def serve(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight within the grace period."""
    assert worker.listen_fd is not None  # noqa: S101 - the supervisor always passes one
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    service = worker.create_service("http")
    await service.start()
    server = HttpServer(create_app(service, worker.settings), responses.refusal)
    await server.start(socket.socket(fileno=worker.listen_fd))
    worker.report_ready()
    await stopped.wait()
    await server.stop(worker.settings.grace_seconds)
    await service.close()


if __name__ == "__main__":
    uvloop.run(serve(Worker.from_command_line()))
