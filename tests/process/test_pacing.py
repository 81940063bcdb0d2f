"""Refusals are held back when there are many."""

import asyncio
import time

import pytest

from server.access.refusal_pacing import RefusalPacer

AT_ONCE = round(RefusalPacer.AT_ONCE_S / RefusalPacer.INTERVAL_S)
NOW_S = 1_000.0


def delays_of(pacer: RefusalPacer, count: int, now_s: float = NOW_S) -> list[float]:
    """Return how long each of `count` refusals is held back that are asked for at once."""
    return [pacer.next_delay_s(now_s) for _ in range(count)]


def test_a_few_refusals_pass_at_once_and_further_ones_in_turn() -> None:
    delays = delays_of(RefusalPacer(), AT_ONCE + 60)
    assert delays[:AT_ONCE] == pytest.approx([0.0] * AT_ONCE)
    assert delays[AT_ONCE:] == pytest.approx([turn * RefusalPacer.INTERVAL_S for turn in range(1, 61)])


def test_no_refusal_waits_for_long() -> None:
    assert max(delays_of(RefusalPacer(), 5000)) == RefusalPacer.LONGEST_S


def test_after_a_pause_a_few_pass_at_once_again() -> None:
    pacer = RefusalPacer()
    delays_of(pacer, 5000)
    later = NOW_S + RefusalPacer.LONGEST_S + RefusalPacer.AT_ONCE_S
    assert delays_of(pacer, AT_ONCE, later) == pytest.approx([0.0] * AT_ONCE)


def test_the_wait_is_a_real_one() -> None:
    async def wait_for_all() -> None:
        pacer = RefusalPacer()
        await asyncio.gather(*(pacer.wait() for _ in range(AT_ONCE + 30)))

    started_at = time.monotonic()
    asyncio.run(wait_for_all())
    assert time.monotonic() - started_at >= 30 * RefusalPacer.INTERVAL_S * 0.9
