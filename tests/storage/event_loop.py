"""An event loop such as a worker process has, in a thread of its own, for tests that are no coroutines themselves."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

Result = TypeVar("Result")

TIMEOUT_S = 60.0


class EventLoop:
    """A uvloop event loop that runs between entry and exit; the exit fails if something on it failed unnoticed."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._failures: list[str] = []
        self._loop.set_exception_handler(lambda _, context: self._failures.append(str(context)))
        self._thread = Thread(target=self._loop.run_forever, name="event loop")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(_cancel_other_tasks())
        self.run(asyncio.sleep(0))  # what they closed is let go of
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not self._failures or error is not None, "\n".join(self._failures)

    def start(self, work: "Coroutine[Any, Any, Result]") -> "Future[Result]":
        """Have the loop run a coroutine; may be called from any thread, the loop's own too."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: "Coroutine[Any, Any, Result]") -> Result:
        """Have the loop run a coroutine, and return its result."""
        return self.start(work).result(TIMEOUT_S)

    def call(self, action: Callable[[], Result]) -> Result:
        """Call a function on the loop, which does nothing else meanwhile, and return its result."""

        async def act() -> Result:
            return action()

        return self.run(act())


async def _cancel_other_tasks() -> None:
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)  # before Python 3.12, asyncio.wait_for may swallow a cancellation
