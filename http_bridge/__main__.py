"""A process that serves HTTP: `python -m http_bridge`, started by the supervisor."""

import os

from http_bridge.app import create_app
from http_bridge.wsgi_server import run_wsgi
from server.worker import Worker


def serve(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight."""
    assert worker.listen_fd is not None  # noqa: S101 - the supervisor always passes one
    service = worker.create_service("http")
    app = create_app(service, worker.settings)
    is_finished = run_wsgi(app, worker.listen_fd, worker.report_ready, worker.settings.grace_seconds)
    service.close()
    if not is_finished:
        # What still holds a connection open has had its time; its threads would keep this process from ending.
        os._exit(0)


if __name__ == "__main__":
    serve(Worker.from_command_line())
