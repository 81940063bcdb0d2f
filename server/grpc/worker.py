"""A process that serves gRPC: `python -m server.grpc.worker`, started by the supervisor."""

import asyncio
from functools import partial

import uvloop

from server.errors import ServiceUnavailableError
from server.grpc.application import GrpcApplication
from server.grpc.call import READ_LIMIT_FACTOR
from server.grpc.call_limit import CallLimit
from server.grpc.handlers import SERVICE_NAME, GrpcIngestService
from server.grpc.health import HEALTH_SERVICE_NAME, HealthService
from server.grpc.message_reads import MessageReads
from server.grpc.query_handlers import QUERY_SERVICE_NAME, GrpcQueryService
from server.grpc.reflection import REFLECTION_SERVICE_NAMES, ReflectionService
from server.http2.server import Http2Server
from server.observability.metrics import Protocol
from server.processes.listeners import bind_reserved
from server.processes.tls import open_tls, use_newest
from server.processes.worker import Worker
from server.service import IngestService
from server.settings import Settings

HEALTH_INTERVAL_S = 1.0
# A client whose connection is this old makes its next call on a new one, maybe to another worker; calls and streams
# under way on the old one go on.
MAX_CONNECTION_AGE_S = 600.0


async def run_worker(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight within the grace period."""
    settings = worker.settings
    service = worker.create_service("grpc")
    await service.start()
    reads = MessageReads(max(1, settings.max_held_bytes // (settings.max_body_bytes * READ_LIMIT_FACTOR)))
    handlers = GrpcIngestService(service, settings.grpc_max_calls, reads)
    relay = worker.create_relay()
    queries = GrpcQueryService(relay, CallLimit(settings.grpc_max_calls)) if relay is not None else None
    names = (SERVICE_NAME,) if queries is None else (SERVICE_NAME, QUERY_SERVICE_NAME)
    for_all = CallLimit(settings.grpc_max_calls)
    health = HealthService((SERVICE_NAME,), for_all)
    reflection = ReflectionService((*names, HEALTH_SERVICE_NAME, *REFLECTION_SERVICE_NAMES), for_all)
    methods = {**handlers.methods(), **health.methods(), **reflection.methods()}
    if queries is not None:
        methods |= queries.methods()
    tls = open_tls(settings)
    server = create_server(GrpcApplication(methods, settings.max_body_bytes), settings)
    stop_requested = worker.stop_requested()
    watcher = asyncio.create_task(_report_health(service, health))
    report = partial(service.reporter.report_failed_handshake, Protocol.GRPC)
    context = use_newest(tls, "h2", report) if tls is not None else None
    await server.start(bind_reserved(settings.grpc_host, settings.grpc_port), context)
    follower = asyncio.create_task(tls.follow(worker.reload_requested(), "gRPC")) if tls is not None else None
    worker.report_ready()
    await stop_requested.wait()
    watcher.cancel()
    if follower is not None:
        follower.cancel()
    health.stop()
    handlers.stop_streams()  # the query processes, which stop at the same time, end their own
    await server.stop(settings.grace_seconds)
    await service.close()


def create_server(application: GrpcApplication, settings: Settings) -> Http2Server:
    """Return a server by the settings."""
    return Http2Server(
        application,
        max_streams=settings.grpc_max_streams,
        max_connections=settings.max_connections,
        max_held_bytes=settings.max_held_bytes,
        max_age_s=MAX_CONNECTION_AGE_S,
    )


async def _report_health(service: IngestService, health: HealthService) -> None:
    """Keep grpc.health.v1 true: serving means that a batch could be stored now."""
    while True:
        health.set(is_serving=await _is_ready(service))
        await asyncio.sleep(HEALTH_INTERVAL_S)


async def _is_ready(service: IngestService) -> bool:
    try:
        await service.check_ready()
    except ServiceUnavailableError:
        return False
    return True


if __name__ == "__main__":
    uvloop.run(run_worker(Worker.from_command_line()))
