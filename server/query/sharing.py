"""Answers that several people share for a moment: those to pages that refresh themselves, and ask the same."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final

from server.query.answers import Answer

# An answer is shared for so many times as long as it took: what is fast is nearly always fresh, and what is slow is
# asked for seldom, however many people look.
TIMES: Final = 10
LONGEST_S: Final = 10.0


class _Question:
    """A question that is being answered, or was answered just now."""

    def __init__(self, answering: "asyncio.Task[Answer]") -> None:
        self.answering = answering
        self.asked_at = time.monotonic()
        self.waiting = 0  # people


class SharedAnswers:
    """The answers of a process, on its event loop."""

    def __init__(self) -> None:
        self._questions: dict[Hashable, _Question] = {}

    async def get(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Return the answer to the question of a key: to whoever asked it just now, or by `ask`. Raises what that does.

        A question that nobody waits for any more is cancelled.
        """
        question = self._questions.get(key) or self._begin(key, ask)
        question.waiting += 1
        try:
            return await asyncio.shield(question.answering)
        finally:
            question.waiting -= 1
            if not question.waiting and not question.answering.done():
                self._forget(key, question)
                question.answering.cancel()

    def _begin(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> _Question:
        question = self._questions[key] = _Question(asyncio.create_task(ask()))
        question.answering.add_done_callback(lambda _: self._end(key, question))
        return question

    def _end(self, key: Hashable, question: _Question) -> None:
        if question.answering.cancelled() or question.answering.exception() is not None:
            self._forget(key, question)
            return
        shared_s = min(LONGEST_S, TIMES * (time.monotonic() - question.asked_at))
        asyncio.get_running_loop().call_later(shared_s, self._forget, key, question)

    def _forget(self, key: Hashable, question: _Question) -> None:
        if self._questions.get(key) is question:
            del self._questions[key]
