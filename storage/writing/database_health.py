"""Whether the database is up, as far as the writer knows, and when it is tried again."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

_logger = logging.getLogger(__name__)


class DatabaseHealth:
    """Up or down; while it is down, a probe looks from time to time whether it is up again."""

    PROBE_INTERVAL_S = 0.5
    # A database that can be reached may fail all the same, for example on a full disk: when it is down again this
    # soon, the next probe waits for a backoff, which doubles up to the longest.
    RELAPSE_S = 10.0
    FIRST_BACKOFF_S = 0.1
    LONGEST_BACKOFF_S = 5.0

    def __init__(self, probe: Callable[[], Awaitable[bool]] | None) -> None:
        """`probe` tells whether the database can be used; without one, only `mark_up` ends an outage."""
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self.is_down = False
        self._failed_at = self._down_since = 0.0
        self._up_since = -self.RELAPSE_S
        self._backoff_s = 0.0

    @property
    def down_for_s(self) -> float:
        """For how long the database has been down."""
        return time.monotonic() - self._down_since if self.is_down else 0.0

    @property
    def is_dependable(self) -> bool:
        """Tell whether rows are likely to be stored now: it is up, and has been for a time if it relapsed before.

        Without a probe a database that is down becomes so again when it has not failed for that time.
        """
        if self.is_down and self._probe is not None:
            return False
        is_suspect = self.is_down or self._backoff_s > 0
        return not is_suspect or time.monotonic() > max(self._failed_at, self._up_since) + self.RELAPSE_S

    def mark_down(self, error: BaseException) -> None:
        """Note that the database could not be used."""
        self._failed_at = time.monotonic()
        if self.is_down:
            return
        _logger.warning("the database is down: %s", str(error).splitlines()[0])
        self.is_down = True
        self._down_since = self._failed_at
        if self._probe is not None:
            self._probing = asyncio.get_running_loop().create_task(self._probe_until_up(self._probe))

    def mark_up(self) -> None:
        """Note that the database was used."""
        if self.is_down:
            _logger.warning("the database is up again")
            self.is_down = False
            self._up_since = time.monotonic()

    async def close(self) -> None:
        """Stop probing."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])

    async def _probe_until_up(self, probe: Callable[[], Awaitable[bool]]) -> None:
        if self._down_since < self._up_since + self.RELAPSE_S:
            self._backoff_s = min(2 * self._backoff_s + self.FIRST_BACKOFF_S, self.LONGEST_BACKOFF_S)
        else:
            self._backoff_s = 0.0
        await asyncio.sleep(self._backoff_s)
        while not await self._is_up(probe):
            await asyncio.sleep(self.PROBE_INTERVAL_S)
        self.mark_up()

    async def _is_up(self, probe: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await probe()
        except Exception:
            # Without a further probe the database would be down for good.
            _logger.exception("a probe of the database went wrong")
            return False
