"""The spool of a server: which one it is, and the thread that empties it into the database."""

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.settings import Settings, Spooling
from storage.spool.drain import Drainer
from storage.spool.spool import Spool

LOCK_FILE = "spool.lock"
LOCK_INTERVAL_S = 0.5
STOP_TIMEOUT_S = 15.0

_logger = logging.getLogger(__name__)


def open_spool(settings: Settings) -> Spool | None:
    """Return the spool of these settings, None when it is off. Raises SpoolError."""
    if settings.spool is Spooling.OFF:
        return None
    return Spool(settings.data_dir, max_bytes=settings.spool_max_bytes)


@contextmanager
def drain_lock(folder: Path) -> Iterator[bool]:
    """Yield whether this process may drain the spool of a data folder: one may at a time."""
    descriptor = os.open(folder / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


class SpoolDrain:
    """A thread of the supervisor that empties the spool whenever the database can be used."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        """Start it. Raises SpoolError."""
        self._settings = settings
        self._url = database_url
        self._spool = open_spool(settings)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        if self._spool is not None:
            self._report(self._spool)
            self._thread.start()

    def stop(self) -> None:
        """Stop, after what is being drained now, unless a database that does not answer holds it up."""
        self._stopped.set()
        if self._spool is not None:
            self._thread.join(STOP_TIMEOUT_S)

    def _report(self, spool: Spool) -> None:
        status = spool.status()
        if status.batches:
            _logger.warning("the spool holds %d batches of earlier; they are stored now", status.batches)
        if status.refused:
            _logger.error("%d spooled batches were refused by Postgres; see `spool status`", status.refused)

    def _run(self) -> None:
        while not self._stopped.wait(LOCK_INTERVAL_S):
            with drain_lock(self._settings.data_dir) as is_mine:
                if is_mine:
                    asyncio.run(self._drain())

    async def _drain(self) -> None:
        assert self._spool is not None  # noqa: S101 - the thread runs only with one
        drainer = Drainer(self._spool, self._url, name="spool")
        try:
            while not self._stopped.is_set():
                if not await drainer.drain():
                    await asyncio.sleep(drainer.RETRY_INTERVAL_S)
        finally:
            drainer.close()
