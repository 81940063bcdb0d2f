"""Refusals are held back when there are many."""

import asyncio
import time

from server.access.refusal_pacing import RefusalPacer

AT_ONCE = round(RefusalPacer.AT_ONCE_S / RefusalPacer.INTERVAL_S)
TOLERANCE_S = 0.5


def times_of(count: int) -> list[float]:
    """Return after how many seconds each of `count` refusals, asked for at once, may be sent."""

    async def ask() -> list[float]:
        pacer = RefusalPacer()
        started = time.monotonic()

        async def wait() -> float:
            await pacer.wait()
            return time.monotonic() - started

        return await asyncio.gather(*(wait() for _ in range(count)))

    return asyncio.run(ask())


def test_a_few_refusals_pass_at_once_and_further_ones_in_turn() -> None:
    times = times_of(AT_ONCE + 60)
    assert max(times[:AT_ONCE]) < TOLERANCE_S
    for turn, seconds in enumerate(times[AT_ONCE:], start=1):
        assert seconds >= turn * RefusalPacer.INTERVAL_S * 0.9


def test_no_refusal_waits_for_long() -> None:
    assert max(times_of(5000)) < RefusalPacer.LONGEST_S + TOLERANCE_S * 2
