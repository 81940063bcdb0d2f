"""Pacing of refusals: clients that ignore them cannot take a worker's time from others."""

import asyncio


class RefusalPacer:
    """Delays the refusals on an event loop: a few are sent at once, further ones at a fixed rate.

    This slows down a client that waits for its answers but ignores them.
    """

    INTERVAL_S = 0.01  # between turns
    AT_ONCE_S = 0.2  # worth of refusals, after a pause, that need not wait
    LONGEST_S = 1.0  # that any refusal waits

    def __init__(self) -> None:
        self._due_at = 0.0  # the latest turn that was given

    async def wait(self) -> None:
        """Wait until a refusal may be sent."""
        delay_s = self.next_delay_s(asyncio.get_running_loop().time())
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def next_delay_s(self, now_s: float) -> float:
        """Return how long the next refusal is to be held back, in seconds; `now_s` is the event loop's time."""
        self._due_at = min(max(self._due_at, now_s - self.AT_ONCE_S) + self.INTERVAL_S, now_s + self.LONGEST_S)
        return max(0.0, self._due_at - now_s)
