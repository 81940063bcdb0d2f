"""Answers that pages share: who asks, who waits, and how long they last."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from server.errors import ServiceUnavailableError
from server.query import sharing
from server.query.answers import Answer, Trace
from server.query.sharing import SharedAnswers


class Asked:
    """A question whose answer comes when `may_end` is set."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> Answer:
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Trace([])


def join(shared: SharedAnswers, asked: Asked, key: str = "question") -> "asyncio.Task[Answer]":
    return asyncio.create_task(shared.get(key, asked))


async def until_begun(asked: Asked, times: int = 1) -> None:
    while asked.begun < times:
        await asyncio.sleep(0)


def test_those_who_ask_the_same_wait_for_one_answer_and_others_for_another() -> None:
    async def act() -> None:
        shared, asked = SharedAnswers(), Asked()
        same = [join(shared, asked) for _ in range(3)]
        other = join(shared, asked, "another")
        await until_begun(asked, 2)
        asked.may_end.set()
        first, *more = await asyncio.gather(*same)
        assert all(answer is first for answer in more)
        assert await other is not first
        assert asked.begun == 2

    asyncio.run(act())


def test_a_slow_answer_is_shared_for_a_while_and_a_fast_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        shared, asked = SharedAnswers(), Asked()
        asking = join(shared, asked)
        await asyncio.sleep(0.05)
        asked.may_end.set()
        answer = await asking
        monkeypatch.setattr(sharing, "LONGEST_S", 0.0)
        assert await shared.get("question", asked) is answer
        await shared.get("fast", asked)
        await asyncio.sleep(0.01)
        await shared.get("fast", asked)
        assert asked.begun == 3

    asyncio.run(act())


def test_a_question_is_cancelled_when_the_last_has_gone_and_can_be_asked_again() -> None:
    async def act() -> None:
        shared, asked = SharedAnswers(), Asked()
        first, second = join(shared, asked), join(shared, asked)
        await until_begun(asked)
        first.cancel()
        await asyncio.wait({first})
        assert not asked.cancelled
        second.cancel()
        await asyncio.wait({second})
        asked.may_end.set()
        await shared.get("question", asked)
        assert (asked.begun, asked.cancelled) == (2, 1)

    asyncio.run(act())


def test_a_refusal_goes_to_all_who_wait_and_is_not_kept() -> None:
    async def act() -> None:
        shared, begun, may_end = SharedAnswers(), [], asyncio.Event()

        async def refuse() -> Answer:
            begun.append(1)
            await may_end.wait()
            raise ServiceUnavailableError

        def ask() -> Coroutine[Any, Any, Answer]:
            return shared.get("question", refuse)

        waiting = [asyncio.create_task(ask()) for _ in range(2)]
        await asyncio.sleep(0)
        may_end.set()
        found = await asyncio.gather(*waiting, ask(), return_exceptions=True)
        assert [type(each) for each in found] == [ServiceUnavailableError] * 3
        with pytest.raises(ServiceUnavailableError):
            await ask()
        assert len(begun) == 2

    asyncio.run(act())
