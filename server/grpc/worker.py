"""A process that serves gRPC: `python -m server.grpc.worker`, started by the supervisor."""

import asyncio
import os
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from server.errors import ServiceUnavailableError
from server.grpc.handlers import SERVICE_NAME, GrpcIngestService
from server.grpc.message_reads import MessageReads
from server.grpc.query_handlers import QUERY_SERVICE_NAME, GrpcQueryService
from server.grpc.reflection import enable_reflection
from server.grpc.server import GrpcServer
from server.processes.listeners import join_host_port
from server.processes.tls import TlsFiles, TlsMaterial, open_tls
from server.processes.worker import Worker
from server.service import IngestService
from server.settings import Settings

HEALTH_INTERVAL_S = 1.0
# A client whose connection is this old makes its next call on a new one, maybe to another worker; calls and streams
# under way on the old one go on.
MAX_CONNECTION_AGE_S = 600.0

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

_OPTIONS: dict[str, int] = {
    # Workers share the port, and the kernel spreads connections over them.
    "grpc.so_reuseport": 1,
    # A peer that vanished is noticed within 80 s; a client may ping as often as every 10 s to notice us.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.min_ping_interval_without_data_ms": 10_000,
    "grpc.http2.max_pings_without_data": 0,
    # A stream brings no more than this of a message before it is read.
    "grpc.http2.bdp_probe": 0,
}
# Messages up to this many times the limit are read whole, so that they can be refused with an explanation.
_READ_LIMIT_FACTOR = 4


async def run_worker(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight within the grace period."""
    settings = worker.settings
    service = worker.create_service("grpc")
    await service.start()
    reads = MessageReads(max(1, settings.max_held_bytes // (settings.max_body_bytes * _READ_LIMIT_FACTOR)))
    handlers = GrpcIngestService(service, settings.grpc_max_calls, reads)
    relay = worker.create_relay()
    queries = GrpcQueryService(relay, settings.grpc_max_calls) if relay is not None else None
    names = (SERVICE_NAME,) if queries is None else (SERVICE_NAME, QUERY_SERVICE_NAME)
    tls = open_tls(settings)
    health_servicer = _HealthServicer()

    def create() -> grpc.aio.Server:
        server = create_server(settings, tls)
        server.add_generic_rpc_handlers((handlers.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        if queries is not None:
            server.add_generic_rpc_handlers((queries.handler(),))
        enable_reflection(server, names)
        return server

    server = GrpcServer(create, settings.grace_seconds)
    stop_requested = worker.stop_requested()
    watcher = asyncio.create_task(_report_health(service, health_servicer))
    follower = asyncio.create_task(tls.follow(worker.reload_requested(), "gRPC")) if tls is not None else None
    await server.start()
    worker.report_ready()
    watching = asyncio.create_task(server.watch())
    stopping = asyncio.create_task(stop_requested.wait())
    await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    stopping.cancel()

    watcher.cancel()
    if follower is not None:
        follower.cancel()
    await health_servicer.enter_graceful_shutdown()
    handlers.stop_streams()  # the query processes, which stop at the same time, end their own
    await server.stop()
    await service.close()
    if server.is_damaged:
        # What is left of broken servers does not always survive the interpreter's end.
        os._exit(0)


class _HealthServicer(health.aio.HealthServicer):
    """As its base, but a client that watches does not keep the server from stopping."""

    def __init__(self) -> None:
        super().__init__()
        self._stopping = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - the method's name in the protocol
        """Report each change of a service's health, until the client cancels or the server stops."""
        watch = asyncio.create_task(super().Watch(request, context))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((watch, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            stopping.cancel()

    async def enter_graceful_shutdown(self) -> None:
        """Report NOT_SERVING from now on, and end all watches."""
        await super().enter_graceful_shutdown()
        self._stopping.set()


def create_server(settings: Settings, tls: TlsFiles | None = None) -> grpc.aio.Server:
    """Return a server that listens by the settings and serves nothing yet."""
    options = (
        *_OPTIONS.items(),
        ("grpc.max_receive_message_length", settings.max_body_bytes * _READ_LIMIT_FACTOR),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", settings.grpc_max_streams),
        ("grpc.max_connection_age_ms", int(MAX_CONNECTION_AGE_S * 1000)),
    )
    server = grpc.aio.server(options=options)
    address = join_host_port(settings.grpc_host, settings.grpc_port)
    if tls is None:
        server.add_insecure_port(address)
    else:
        server.add_secure_port(address, _create_credentials(tls))
    return server


def _create_credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials whose handshakes use what `tls` holds at that time."""
    used = tls.material

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        if used is tls.material:
            return None
        used = tls.material
        return _configure(used)

    return grpc.dynamic_ssl_server_credentials(_configure(used), fetch, used.client_ca is not None)  # type: ignore[arg-type] # of a stub


def _configure(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(material.key, material.chain)], material.client_ca)


async def _report_health(service: IngestService, servicer: health.aio.HealthServicer) -> None:
    """Keep grpc.health.v1 true: serving means that a batch could be stored now."""
    while True:
        status = _SERVING if await _is_ready(service) else _NOT_SERVING
        for name in ("", SERVICE_NAME):
            await servicer.set(name, status)
        await asyncio.sleep(HEALTH_INTERVAL_S)


async def _is_ready(service: IngestService) -> bool:
    try:
        await service.check_ready()
    except ServiceUnavailableError:
        return False
    return True


if __name__ == "__main__":
    uvloop.run(run_worker(Worker.from_command_line()))
