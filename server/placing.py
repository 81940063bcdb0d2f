"""What stores batches by the settings: one writer and drain for one Postgres, or one for each node."""

from collections.abc import Callable

from psycopg_pool import AsyncConnectionPool

from server.settings import Settings
from storage.distribution.node_drain import NodeDrainer
from storage.distribution.node_writers import NodeWriters
from storage.spool.drain import Drainer
from storage.spool.spool import Spool
from storage.writing.destination import Database
from storage.writing.flush_report import FlushReport
from storage.writing.writer import EventWriter


def open_writer(
    settings: Settings,
    url: str,
    *,
    name: str,
    pool: AsyncConnectionPool,
    spool: Spool | None,
    on_flush: Callable[[FlushReport], None],
) -> EventWriter | NodeWriters:
    """Return the writer of a worker; to be called on its event loop. The rest is as for an EventWriter."""
    if settings.distributed is not None:
        return NodeWriters(url, name=name, pool=pool, spool=spool, on_flush=on_flush)
    return EventWriter(Database(url), name=name, pool=pool, spool=spool, on_flush=on_flush)


def open_drainer(
    settings: Settings, spool: Spool, url: str, *, name: str, is_copy: bool = False
) -> Drainer | NodeDrainer:
    """Return what drains a spool into the database of `url`; to be called on an event loop. `is_copy`: see Drainer."""
    if settings.distributed is not None:
        return NodeDrainer(spool, url, name=name, is_copy=is_copy)
    return Drainer(spool, Database(url), name=name, is_copy=is_copy)
