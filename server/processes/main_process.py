"""The main process of `seestack-ingest serve`: it starts all parts of a server, in order, and stops them."""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from pydantic import SecretStr

from server.compiled.aggregator import choose_summing
from server.compiled.encoder import is_chosen
from server.database.first_key import ensure_first_keys
from server.database.later_work import LaterWork
from server.database.limit_sharing import LimitSharing
from server.database.maintenance import Maintenance
from server.database.nodes import coordinator_of
from server.database.partition_upkeep import PartitionUpkeep
from server.database.retention import Retention
from server.database.rollup_upkeep import RollupUpkeep
from server.database.setup import open_database, prepare_rows, require_grants
from server.database.shard_work import ShardLaterWork
from server.database.spool_drain import SpoolDrain
from server.observability.log import event_fields
from server.processes.listeners import ListenError, is_loopback, join_host_port, listen, reserve
from server.processes.metrics_endpoint import MetricsPage
from server.processes.signals import Signals
from server.processes.supervisor import Supervisor
from server.processes.tls import check_dates, open_tls
from server.row_handover import RowReceiver
from server.settings import LimitScope, Settings, describe_setting
from server.spools import assign_spool_folder, database_url_of, recall_spool_folder
from storage.database import connect
from storage.database_identity import read_identity
from storage.embedded.server import EmbeddedServer
from storage.errors import StorageUnavailableError
from storage.keys.snapshot import KeySnapshot
from storage.migrations import migrate
from storage.refusals import is_refused_for_good

_logger = logging.getLogger(__name__)


def run_server(settings: Settings, announce: Callable[[Settings], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; `announce` is called with the effective settings once requests are served.

    Raises SettingsError, ListenError, WorkerStartError and StorageError when the server cannot be started.
    """
    signals = Signals.install()
    tls = open_tls(settings)
    if tls is not None:
        check_dates(settings, tls.material)
    with ExitStack() as stack:
        http_listener = stack.enter_context(closing(_open(listen, settings, "http")))
        grpc_port = stack.enter_context(closing(_open(reserve, settings, "grpc")))
        metrics_listener = stack.enter_context(closing(_open(listen, settings, "metrics")))
        database_url, embedded = stack.enter_context(open_database(settings, may_create=True))
        partitions = PartitionUpkeep()
        spool_folder = _prepare_database(settings, database_url, embedded, partitions)
        effective = settings.model_copy(
            update={
                "database_url": SecretStr(database_url),
                "http_port": http_listener.getsockname()[1],
                "grpc_port": grpc_port.getsockname()[1],
                "metrics_port": metrics_listener.getsockname()[1],
            }
        )
        key_snapshot = KeySnapshot(spool_folder) if spool_folder is not None else None
        maintenance = Maintenance(effective, embedded, partitions, key_snapshot)
        stack.callback(maintenance.stop)
        later_work = _start_later_work(settings, database_url)
        stack.callback(later_work.stop)
        rollups = RollupUpkeep(
            database_url,
            choose_summing(settings.compiled),
            settings.rollup_retention_days,
            is_distributed=settings.distributed is not None,
        )
        stack.callback(rollups.stop)
        drain = SpoolDrain(effective)
        stack.callback(drain.stop)
        if tls is None:
            _warn_of_plain_text(http_listener, grpc_port)
        supervisor = Supervisor(
            effective, http_listener, ask_fd=rollups.ask_fd, open_rows=RowReceiver(rollups.handover).open
        )
        sharing = _start_sharing(effective, supervisor)
        if sharing is not None:
            stack.callback(sharing.stop)
        stack.callback(
            MetricsPage(metrics_listener, effective, supervisor, partitions, later_work, rollups, drain, sharing).stop
        )
        supervisor.start(signals.stop)
        if not signals.stop.is_set():
            _logger.info("serving", extra=_addresses(effective))
            announce(effective)
            supervisor.watch(signals.stop, signals.reload)
        _logger.info("stopping: finishing what is in flight, for at most %g s", settings.grace_seconds)
        supervisor.stop(signals.stop_at_once)
    signals.ignore_hangup()
    _logger.info("stopped")


def _prepare_database(
    settings: Settings, url: str, embedded: EmbeddedServer | None, partitions: PartitionUpkeep
) -> Path | None:
    """Bring the database up to date and return the folder of its spool, None without one.

    While it is down, the spool and the keys that were last used with it are taken. Raises StorageError.
    """
    try:
        with connect(url) as connection:
            migrate(connection)
            prepare_rows(connection, coordinator_of(settings, url))
            require_grants(connection)
            partitions.make(connection)
            if embedded is not None:
                ensure_first_keys(connection, settings.data_dir)
            identity = read_identity(connection)
    except StorageUnavailableError as error:
        folder = recall_spool_folder(settings, url)
        if folder is None or not KeySnapshot(folder).exists or is_refused_for_good(url):
            raise
        _logger.warning("%s; batches go to the spool until the database is up", error)
        return folder
    return assign_spool_folder(settings, url, identity)


def _start_later_work(settings: Settings, url: str) -> LaterWork:
    retention = Retention(settings.retention_days)
    if settings.distributed is not None:
        return ShardLaterWork(url, retention, settings.retention_days)
    return LaterWork(url, retention)


def _start_sharing(settings: Settings, supervisor: Supervisor) -> LimitSharing | None:
    if settings.limit_scope is LimitScope.SERVER:
        return None
    return LimitSharing(database_url_of(settings), supervisor.buckets_file)


def _addresses(settings: Settings) -> Mapping[str, object]:
    return event_fields(
        http=join_host_port(settings.http_host, settings.http_port),
        grpc=join_host_port(settings.grpc_host, settings.grpc_port),
        metrics=join_host_port(settings.metrics_host, settings.metrics_port),
        data_dir=settings.data_dir,
        compiled=is_chosen(settings.compiled),
        pid=os.getpid(),
    )


def _open(open_socket: Callable[[str, int], socket.socket], settings: Settings, name: str) -> socket.socket:
    """Open the socket of the settings NAME_host and NAME_port. Raises ListenError that names the one to change."""
    host, port = f"{name}_host", f"{name}_port"
    try:
        return open_socket(getattr(settings, host), getattr(settings, port))
    except ListenError as error:
        wrong = port if error.is_port_wrong else host
        message = f"{error}; choose another with {describe_setting(wrong)}"
        raise ListenError(message, is_port_wrong=error.is_port_wrong) from error


def _warn_of_plain_text(*listeners: socket.socket) -> None:
    """Warn when the ports, which speak plain text, can be reached from other machines."""
    open_ports = [join_host_port(*each.getsockname()[:2]) for each in listeners if not is_loopback(each)]
    if open_ports:
        _logger.warning(
            "plain text: what is sent to %s, API keys included, can be read on the network; "
            "set %s and %s, or put a TLS proxy in front and listen on 127.0.0.1",
            " and ".join(open_ports), describe_setting("tls_cert"), describe_setting("tls_key"),
        )  # fmt: skip
