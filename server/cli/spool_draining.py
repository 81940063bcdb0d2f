"""Draining a spool by a command, for as long as its user wants to wait."""

import asyncio
import time
from contextlib import closing

from server.placing import open_drainer
from server.settings import Settings
from storage.errors import StorageUnavailableError
from storage.spool.spool import Spool


def drain_until(settings: Settings, deadline: float, opened: Spool, url: str, *, is_copy: bool = False) -> str:
    """Drain until nothing is left or `deadline` (time.monotonic) is over; return what went wrong last.

    The caller holds the drain lock. `is_copy`: see Drainer. Raises SpoolError, SpoolOwnerError.
    """
    return asyncio.run(_drain(settings, deadline, opened, url, is_copy))


async def _drain(settings: Settings, deadline: float, opened: Spool, url: str, is_copy: bool) -> str:
    why = "they are too many for that time"
    with closing(open_drainer(settings, opened, url, name="spool", is_copy=is_copy)) as drainer:
        while opened.status().batches and time.monotonic() < deadline:
            try:
                await drainer.drain()
            except StorageUnavailableError as error:
                why = str(error)
                await asyncio.sleep(drainer.RETRY_INTERVAL_S)
    return why
