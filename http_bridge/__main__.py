"""A process that serves HTTP: `python -m http_bridge`, started by the supervisor."""

from http_bridge.app import create_app
from http_bridge.wsgi_server import run_wsgi
from server.worker import Worker


def serve(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight."""
    assert worker.listen_fd is not None  # noqa: S101 - the supervisor always passes one
    service = worker.create_service("http")
    run_wsgi(create_app(service, worker.settings), worker.listen_fd, worker.report_ready)
    service.close()


if __name__ == "__main__":
    serve(Worker.from_command_line())
