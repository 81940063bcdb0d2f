"""A process that answers queries: `python -m http_bridge.query_worker`, started by the supervisor."""

import uvloop

from http_bridge.query_answering import QueryAnswering
from server.processes.worker import Worker
from server.query.relay.server import RelayServer
from storage.priority import give_way


async def run_worker(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight within the grace period."""
    stop_requested = worker.stop_requested()
    service = worker.create_query_service()
    administration = worker.create_administration(service)
    await service.start()
    server = RelayServer(worker.query_fd, QueryAnswering(service).answer, administration.answer)
    server.start()
    worker.report_ready()
    give_way()  # not while it starts: the server waits for that
    await stop_requested.wait()
    service.end_tails()
    await server.stop(worker.settings.grace_seconds)
    administration.close()
    await service.close()


if __name__ == "__main__":
    uvloop.run(run_worker(Worker.from_command_line()))
