"""The thread that drains a server's spool into its database."""

import asyncio
import fcntl
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path

from server.placing import open_drainer
from server.settings import Settings
from server.spools import database_url_of, open_spool, report_spools
from storage.errors import SpoolError, SpoolOwnerError, StorageError
from storage.spool.spool import Spool

LOCK_FILE = "spool.lock"
LOCK_INTERVAL_S = 0.5
LONGEST_BACKOFF_S = 30.0
REMINDER_INTERVAL_S = 60.0
STOP_TIMEOUT_S = 15.0

_logger = logging.getLogger(__name__)


class DrainFailure(StrEnum):
    """Why batches could not be taken from the spool into the database."""

    DATABASE = "database"  # it cannot be reached, or does not take them now
    OWNER = "owner"  # the spool belongs to another database
    SPOOL = "spool"  # the file or its disk fails
    INTERNAL = "internal"

    @classmethod
    def of(cls, error: Exception) -> "DrainFailure":
        """Return what kind of failure an exception is."""
        if isinstance(error, SpoolOwnerError):
            return cls.OWNER
        if isinstance(error, SpoolError | OSError):
            return cls.SPOOL
        return cls.DATABASE if isinstance(error, StorageError) else cls.INTERNAL


@contextmanager
def drain_lock(folder: Path) -> Iterator[bool]:
    """Yield whether this process may drain the spool in a folder: one may at a time. Raises OSError."""
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
    """A thread of the main process that drains the spool whenever the database can be used, until it is stopped.

    Every failure is logged, counted in `failures`, and retried.
    """

    def __init__(self, settings: Settings) -> None:
        """Start it, with the settings that workers have. Raises SpoolError."""
        self._settings = settings
        self.failures = Counter(dict.fromkeys(DrainFailure, 0))
        self._said = ""
        self._said_at = 0.0
        self._backoff_s = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        spool = open_spool(settings)
        if spool is not None:
            with closing(spool):
                report_spools(settings.data_dir, spool)
            self._thread.start()

    def stop(self) -> None:
        """Stop, after what is being drained now, unless a database that does not answer holds it up."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        # Each round opens the spool again: a file that failed may have been replaced.
        while not self._stopped.wait(self._backoff_s or LOCK_INTERVAL_S):
            try:
                spool = open_spool(self._settings)
                assert spool is not None  # noqa: S101 - the thread runs only with one
                with closing(spool):
                    self._drain_when_alone(spool)
            except Exception as error:
                # If the thread ended, acknowledged batches would stay in the spool.
                self._note_failure(error)
                self._backoff_s = min(max(LOCK_INTERVAL_S, 2 * self._backoff_s), LONGEST_BACKOFF_S)

    def _drain_when_alone(self, spool: Spool) -> None:
        while not self._stopped.is_set():
            with drain_lock(spool.folder) as is_mine:
                if is_mine:
                    asyncio.run(self._drain(spool))
            self._stopped.wait(LOCK_INTERVAL_S)

    async def _drain(self, spool: Spool) -> None:
        drainer = open_drainer(self._settings, spool, database_url_of(self._settings), name="spool")
        with closing(drainer):
            while not self._stopped.is_set():
                try:
                    has_drained = await drainer.drain()
                except StorageError as error:
                    if DrainFailure.of(error) is not DrainFailure.DATABASE:
                        raise
                    self._note_failure(error)
                    has_drained = False
                else:
                    self._backoff_s = 0.0
                    if has_drained:
                        self._note_success()
                if not has_drained:
                    await asyncio.sleep(drainer.RETRY_INTERVAL_S)

    def _note_failure(self, error: Exception) -> None:
        failure = DrainFailure.of(error)
        self.failures[failure] += 1
        message = f"the spool cannot be drained: {error}"
        if message != self._said or time.monotonic() > self._said_at + REMINDER_INTERVAL_S:
            level = logging.WARNING if failure is DrainFailure.DATABASE else logging.ERROR
            _logger.log(level, "%s", message, exc_info=failure is DrainFailure.INTERNAL)
            self._said, self._said_at = message, time.monotonic()

    def _note_success(self) -> None:
        if self._said:
            _logger.warning("the spool is being drained again")
            self._said = ""
