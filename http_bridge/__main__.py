"""A process that serves HTTP: `python -m http_bridge`, started by the supervisor."""

import asyncio
import signal
import threading

from granian._futures import _new_cbscheduler
from granian._granian import SocketHolder, WorkerSignal, WSGIWorker
from granian.http import HTTP1Settings, HTTP2Settings
from granian.wsgi import _callback_wrapper

from http_bridge.app import create_app
from server.worker import Worker

# A thread waits for its batch's commit; many waiting threads make large flushes.
THREADS = 64
BACKLOG = 1024
_TOKIO_BLOCKING_THREADS = 512
_THREAD_IDLE_TIMEOUT_S = 30
_NO_TLS: tuple[object, ...] = (False, None, None, None, "tls1.3", None, [], False)
_NO_METRICS = (None, None)


def serve(worker: Worker) -> None:
    """Serve until SIGTERM, then finish what is in flight.

    This uses Granian's worker itself, not its process manager: one supervisor looks after the workers of both
    protocols, and its listening socket outlives any of them.
    """
    assert worker.listen_fd is not None  # noqa: S101 - the supervisor always passes one
    service = worker.create_service("http")
    app = create_app(service, worker.settings)
    stop = WorkerSignal()
    stopped = threading.Event()
    stop.add_cb(stopped.set)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    server = WSGIWorker(
        1,
        (None, SocketHolder(worker.listen_fd, False, BACKLOG)),
        None,
        1,
        _TOKIO_BLOCKING_THREADS,
        THREADS,
        _THREAD_IDLE_TIMEOUT_S,
        BACKLOG,
        "auto",
        HTTP1Settings(),
        HTTP2Settings(),
        None,
        *_NO_TLS,
        _NO_METRICS,
    )
    scheduler = _new_cbscheduler(asyncio.new_event_loop(), _callback_wrapper(app, {}), impl_asyncio=True)
    server.serve_mtr(scheduler, None, stop)
    worker.report_ready()
    stopped.wait()
    service.close()


if __name__ == "__main__":
    serve(Worker.from_command_line())
