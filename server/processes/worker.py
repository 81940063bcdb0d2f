"""What every worker process has: settings from its environment, and pipes to and from its supervisor."""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from server.access.token_buckets import Buckets
from server.compiled.aggregator import choose_adding
from server.observability.log import configure_logging
from server.observability.metrics import WorkerMetrics, map_cells
from server.processes import worker_process
from server.processes.free_memory import give_back_regularly
from server.query.administration import Administration
from server.query.relay.client import QueryRelay
from server.query.service import QueryService
from server.row_handover import RowSender
from server.service import IngestService
from server.settings import Settings, load_settings

GC_THRESHOLD = 50_000  # net allocations of containers between two collections of the youngest generation

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process: `python -m MODULE READY_FD CELLS_FD ROWS_FD LIFELINE_FD BUCKETS_FD QUERY_FD [OWN_FD]`.

    It writes a byte to READY_FD once it serves, and stops when LIFELINE_FD, which the supervisor holds open, ends.
    CELLS_FD is the shared memory of its metrics. By ROWS_FD it hands over rows that it has stored; NO_ROWS: it hands
    over none. BUCKETS_FD is the file in which all workers count what keys with limits send. QUERY_FD is an end of the
    channel through which queries get to the query processes. OWN_FD is what an HTTP worker accepts from, and how a
    query process asks for a pass of the rollups.
    """

    settings: Settings
    ready_fd: int
    metrics: WorkerMetrics
    rows_fd: int
    lifeline_fd: int
    buckets_fd: int
    query_fd: int
    own_fd: int | None

    @classmethod
    def from_command_line(cls) -> Self:
        """Read the arguments and the environment; from here on this process stops when the supervisor ends."""
        settings = load_settings()
        configure_logging(settings.log_level)
        _allow_many_connections()
        gc.set_threshold(GC_THRESHOLD)
        ready_fd, cells_fd, rows_fd, lifeline_fd, buckets_fd, query_fd, *own_fd = map(int, sys.argv[1:])
        metrics = WorkerMetrics(map_cells(cells_fd))
        own = own_fd[0] if own_fd else None
        worker = cls(settings, ready_fd, metrics, rows_fd, lifeline_fd, buckets_fd, query_fd, own)
        threading.Thread(target=worker._follow_supervisor, name="lifeline", daemon=True).start()
        threading.Thread(target=give_back_regularly, name="free memory", daemon=True).start()
        return worker

    def create_service(self, name: str) -> IngestService:
        """Return the service layer for this process; `name` shows in the database's list of connections."""
        url = self.settings.database_url
        assert url is not None  # noqa: S101 - the supervisor always passes one
        buckets = Buckets(self.buckets_fd)
        return IngestService(
            self.settings,
            database_url=url.get_secret_value(),
            name=name,
            metrics=self.metrics,
            buckets=buckets,
            sender=RowSender(self.rows_fd) if self.rows_fd != worker_process.NO_ROWS else None,
        )

    def create_query_service(self) -> QueryService:
        """Return the service layer for queries."""
        url = self.settings.database_url
        assert url is not None  # noqa: S101 - the supervisor always passes one
        buckets = Buckets(self.buckets_fd)
        return QueryService(
            url.get_secret_value(),
            is_distributed=self.settings.distributed is not None,
            name="query",
            metrics=self.metrics,
            buckets=buckets,
            adding=choose_adding(self.settings.compiled),
            ask_fd=self.own_fd,
        )

    def create_administration(self, service: QueryService) -> Administration:
        """Return what does the tasks of pages, beside that service."""
        url = self.settings.database_url
        assert url is not None  # noqa: S101 - the supervisor always passes one
        return Administration(
            url.get_secret_value(), self.settings.data_dir, service.authenticator, Buckets(self.buckets_fd)
        )

    def create_relay(self) -> QueryRelay | None:
        """Return what forwards queries to the query processes, None when there are none."""
        return QueryRelay(self.query_fd) if self.settings.query_workers else None

    def stop_requested(self) -> asyncio.Event:
        """Return an event that SIGTERM sets from now on; to be called on the event loop."""
        requested = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, requested.set)
        return requested

    def reload_requested(self) -> asyncio.Event:
        """Return an event that SIGHUP sets from now on; to be called on the event loop."""
        requested = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, requested.set)
        # The supervisor starts workers with SIGHUP blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        return requested

    def report_ready(self) -> None:
        """Tell the supervisor that requests are served from now on."""
        # What exists now is never freed, and requests leave no reference cycles: collections find next to nothing.
        gc.freeze()
        gc.enable()
        with suppress(BrokenPipeError):  # when the supervisor has ended, the lifeline stops this process
            os.write(self.ready_fd, b".")
        os.close(self.ready_fd)

    def _follow_supervisor(self) -> None:
        os.read(self.lifeline_fd, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self.settings.grace_seconds + worker_process.STOP_MARGIN_S)
        _logger.error("the worker did not stop in time after its supervisor, and is killed")
        os._exit(1)


def _allow_many_connections() -> None:
    """Raise the soft limit of open files, which often is 1,024, to the hard one: each connection is an open file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
