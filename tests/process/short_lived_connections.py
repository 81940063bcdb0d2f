"""The gRPC worker, but for the age of its connections."""

import uvloop

from server.grpc import worker as grpc_worker
from server.processes.worker import Worker

if __name__ == "__main__":
    grpc_worker.MAX_CONNECTION_AGE_S = 0.3
    uvloop.run(grpc_worker.run_worker(Worker.from_command_line()))
