"""A process that answers queries: `python -m http_bridge.query_worker`, started by the supervisor."""

import uvloop

from http_bridge.query_answering import QueryAnswering
from server.processes.worker import Worker
from server.query.relay.server import RelayServer


async def run_worker(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight within the grace period."""
    stop_requested = worker.stop_requested()
    service = worker.create_query_service()
    await service.start()
    server = RelayServer(worker.query_fd, QueryAnswering(service).answer)
    server.start()
    worker.report_ready()
    await stop_requested.wait()
    service.end_tails()
    await server.stop(worker.settings.grace_seconds)
    await service.close()


if __name__ == "__main__":
    uvloop.run(run_worker(Worker.from_command_line()))
