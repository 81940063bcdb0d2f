"""Runs a WSGI application with Granian in this very process.

This uses Granian's worker itself, not its process manager: one supervisor looks after the workers of both protocols,
and its listening socket outlives any of them.
"""

import asyncio
import signal
import threading
from collections.abc import Callable

from flask import Flask
from granian._futures import _new_cbscheduler
from granian._granian import SocketHolder, WorkerSignal, WSGIWorker
from granian.http import HTTP1Settings, HTTP2Settings
from granian.wsgi import _callback_wrapper

# A thread waits for its batch's commit; many waiting threads make large flushes.
THREADS = 64
BACKLOG = 1024
_TOKIO_THREADS = 1
_TOKIO_BLOCKING_THREADS = 512
_THREAD_IDLE_TIMEOUT_S = 30
_NO_TLS: tuple[object, ...] = (False, None, None, None, "tls1.3", None, [], False)
_NO_METRICS = (None, None)


def run_wsgi(app: Flask, listen_fd: int, report_ready: Callable[[], None], grace_s: float) -> bool:
    """Serve `app` on a listening socket until SIGTERM, then finish what is in flight, for at most `grace_s`.

    Returns whether all connections have ended by then.
    """
    stop = WorkerSignal()
    asked_to_stop, stopped = threading.Event(), threading.Event()
    stop.add_cb(stopped.set)

    def handle(*_: object) -> None:
        asked_to_stop.set()
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    server = WSGIWorker(
        1,
        (None, SocketHolder(listen_fd, False, BACKLOG)),
        None,
        _TOKIO_THREADS,
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
    loop = asyncio.new_event_loop()
    scheduler = _new_cbscheduler(loop, _callback_wrapper(app, {}), impl_asyncio=True)
    server.serve_mtr(scheduler, None, stop)
    report_ready()
    asked_to_stop.wait()
    is_finished = stopped.wait(grace_s)
    if is_finished:
        loop.close()
    return is_finished
