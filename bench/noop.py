"""The no-op floor: the project's own HTTP and gRPC servers with a method that parses a batch and answers.

Started as any worker (see server.processes.worker): with a listening socket it serves HTTP, without one gRPC.
"""

import socket

import msgspec
import uvloop
from flask import Flask, Response, request

from http_bridge import responses
from http_bridge.http1.greenlets import wait
from http_bridge.http1.load_shedding import LoadShedder
from http_bridge.http1.server import HttpServer
from seestack.ingest.v1 import ingest_pb2
from server.grpc.application import GrpcApplication
from server.grpc.call import IncomingCall
from server.grpc.handlers import SERVICE_NAME
from server.grpc.worker import create_server
from server.processes.listeners import bind_reserved
from server.processes.worker import Worker

PATH = "/noop"


def create_app() -> Flask:
    """Return an application that parses a JSON batch and answers as if it were stored."""
    app = Flask(__name__, static_folder=None)

    @app.post(PATH)
    def noop() -> Response:
        body = msgspec.json.decode(wait(request.environ["wsgi.input"].read(2**20)))
        return Response(b'{"ok": true, "accepted": %d}' % len(body["requests"]), 202, mimetype="application/json")

    return app


async def run_worker(worker: Worker) -> None:
    """Serve until SIGTERM."""
    stop_requested = worker.stop_requested()
    if worker.own_fd is not None:
        http_server = HttpServer(create_app(), responses.refusal, LoadShedder(2**20, 2**40))
        await http_server.start(socket.socket(fileno=worker.own_fd))
        worker.report_ready()
        await stop_requested.wait()
    else:
        settings = worker.settings
        methods = {f"{SERVICE_NAME}/IngestHttpRequests": unary, f"{SERVICE_NAME}/StreamHttpRequests": stream}
        grpc_server = create_server(GrpcApplication(methods, settings.max_body_bytes), settings)
        await grpc_server.start(bind_reserved(settings.grpc_host, settings.grpc_port))
        worker.report_ready()
        await stop_requested.wait()
        await grpc_server.stop(1)


async def unary(call: IncomingCall) -> bytes:
    """Answer as if the batch were stored."""
    batch = ingest_pb2.IngestHttpRequestsRequest.FromString(await call.read() or b"")
    return ingest_pb2.IngestHttpRequestsResponse(ok=True, accepted=len(batch.requests)).SerializeToString()


async def stream(call: IncomingCall) -> None:
    """Answer as if each batch were stored."""
    sequence = 0
    while (message := await call.read()) is not None:
        batch = ingest_pb2.StreamHttpRequestsRequest.FromString(message)
        answer = ingest_pb2.StreamHttpRequestsResponse(sequence=sequence, accepted=len(batch.requests))
        await call.write(answer.SerializeToString())
        sequence += 1


if __name__ == "__main__":
    uvloop.run(run_worker(Worker.from_command_line()))
