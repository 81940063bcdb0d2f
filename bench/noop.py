"""The no-op floor: the project's own HTTP and gRPC servers with a method that parses a batch and answers.

Started as any worker (see server.processes.worker): with a listening socket it serves HTTP, without one gRPC.
"""

import socket
from typing import Any

import grpc
import msgspec
import uvloop
from flask import Flask, Response, request

from http_bridge import responses
from http_bridge.http1.greenlets import wait
from http_bridge.http1.load_shedding import LoadShedder
from http_bridge.http1.server import HttpServer
from seestack.ingest.v1 import ingest_pb2
from server.grpc.handlers import SERVICE_NAME
from server.grpc.worker import create_server
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
    if worker.listen_fd is not None:
        http_server = HttpServer(create_app(), responses.refusal, LoadShedder(2**20, 2**40))
        await http_server.start(socket.socket(fileno=worker.listen_fd))
        worker.report_ready()
        await stop_requested.wait()
    else:
        grpc_server = create_server(worker.settings)
        grpc_server.add_generic_rpc_handlers((_handler(),))
        await grpc_server.start()
        worker.report_ready()
        await stop_requested.wait()
        await grpc_server.stop(1)


def _handler() -> grpc.GenericRpcHandler:
    async def unary(batch: ingest_pb2.IngestHttpRequestsRequest, _: Any) -> ingest_pb2.IngestHttpRequestsResponse:
        return ingest_pb2.IngestHttpRequestsResponse(ok=True, accepted=len(batch.requests))

    async def stream(batches: Any, _: Any) -> Any:
        sequence = 0
        async for batch in batches:
            yield ingest_pb2.StreamHttpRequestsResponse(sequence=sequence, accepted=len(batch.requests))
            sequence += 1

    return grpc.method_handlers_generic_handler(
        SERVICE_NAME,
        {
            "IngestHttpRequests": grpc.unary_unary_rpc_method_handler(
                unary,
                ingest_pb2.IngestHttpRequestsRequest.FromString,
                ingest_pb2.IngestHttpRequestsResponse.SerializeToString,
            ),
            "StreamHttpRequests": grpc.stream_stream_rpc_method_handler(
                stream,
                ingest_pb2.StreamHttpRequestsRequest.FromString,
                ingest_pb2.StreamHttpRequestsResponse.SerializeToString,
            ),
        },
    )


if __name__ == "__main__":
    uvloop.run(run_worker(Worker.from_command_line()))
