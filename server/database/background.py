"""A thread of the main process for work that never ends."""

import threading
from abc import ABC, abstractmethod

import psycopg

from storage.errors import StorageError


class BackgroundThread(ABC):
    """Works until it is stopped. Whatever fails is noted and tried again: a thread that ends would do nothing more."""

    STOP_TIMEOUT_S = 15.0

    def __init__(self, name: str, interval_s: float) -> None:
        """Begin; `interval_s` is the pause after `_work` has returned or failed."""
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, after what is being done now, unless a database that does not answer holds it up."""
        self._stopped.set()
        self._thread.join(self.STOP_TIMEOUT_S)

    @abstractmethod
    def _work(self) -> None:
        """Do what is due, once or until stopped. May raise anything."""

    @abstractmethod
    def _note_failure(self, error: Exception, *, is_expected: bool) -> None:
        """Log a failure of `_work`; it is expected when the database, its storage or a file fails."""

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._work()
            except (StorageError, psycopg.Error, OSError) as error:
                self._note_failure(error, is_expected=True)
            except Exception as error:
                self._note_failure(error, is_expected=False)
            self._stopped.wait(self._interval_s)
