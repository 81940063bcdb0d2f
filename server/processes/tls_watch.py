"""Tells in the log what became of TLS files that were replaced. The workers take them up by themselves."""

import logging
import threading

from server.processes.tls import REFRESH_INTERVAL_S, TlsFiles
from server.settings import SettingsError

_logger = logging.getLogger(__name__)


class TlsWatch:
    """A thread of the supervisor that looks at the TLS files until it is stopped."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._warning = ""  # the latest, which is not repeated while it holds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tls", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, after what is being read now."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(REFRESH_INTERVAL_S):
            warning = ""
            try:
                if self._files.refresh():
                    valid_until = self._files.material.valid_until
                    _logger.info("new connections get the new certificate, valid until %s", f"{valid_until:%Y-%m-%d}")
            except SettingsError as error:
                warning = str(error)
            if warning and warning != self._warning:
                _logger.warning("the earlier certificate stays in use: %s", warning)
            self._warning = warning
