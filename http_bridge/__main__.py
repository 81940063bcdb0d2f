"""A process that serves HTTP: `python -m http_bridge`, started by the supervisor."""

import asyncio
import socket
from functools import partial

import uvloop

from http_bridge.app import create_app, create_refusal
from http_bridge.http1.load_shedding import LoadShedder
from http_bridge.http1.server import HttpServer
from server.observability.metrics import Protocol
from server.processes.tls import open_tls, use_newest
from server.processes.worker import Worker


async def run_worker(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight within the grace period."""
    assert worker.own_fd is not None  # noqa: S101 - the supervisor always passes one
    stop_requested = worker.stop_requested()
    tls = open_tls(worker.settings)
    service = worker.create_service("http")
    await service.start()
    shedder = LoadShedder(worker.settings.max_connections, worker.settings.max_held_bytes)
    app = create_app(service, worker.settings, worker.create_relay())
    server = HttpServer(app, create_refusal(service.reporter), shedder)
    report = partial(service.reporter.report_failed_handshake, Protocol.HTTP)
    context = use_newest(tls, "http/1.1", report) if tls is not None else None
    await server.start(socket.socket(fileno=worker.own_fd), context)
    follower = asyncio.create_task(tls.follow(worker.reload_requested(), "HTTP")) if tls is not None else None
    worker.report_ready()
    await stop_requested.wait()
    if follower is not None:
        follower.cancel()
    await server.stop(worker.settings.grace_seconds)
    await service.close()


if __name__ == "__main__":
    uvloop.run(run_worker(Worker.from_command_line()))
