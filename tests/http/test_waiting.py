"""Synchronous functions that wait on an event loop."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from greenlet import getcurrent

from http_bridge.http1.greenlets import run_synchronous, wait
from tests.http.in_process import LoopThread, run_loop


class ExpectedError(Exception):
    pass


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    with run_loop() as running:
        yield running
        assert running.problems == []


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def raise_error(error: BaseException) -> None:
    raise error


def wait_and_add(number: int) -> int:
    return wait(double(number)) + wait(double(number))


def test_a_result_is_handed_back(thread: LoopThread) -> None:
    assert thread.run(run_synchronous(lambda *numbers: sum(numbers), 1, 2, 3)) == 6
    assert thread.run(run_synchronous(lambda: None)) is None


def test_what_is_waited_for_is_handed_in(thread: LoopThread) -> None:
    assert thread.run(run_synchronous(wait_and_add, 5)) == 20


@pytest.mark.parametrize("awaitable", [
    lambda: double(4),
    lambda: asyncio.ensure_future(double(4)),
    lambda: asyncio.gather(double(4)),
    lambda: asyncio.wait_for(double(4), 5),
])  # fmt: skip
def test_anything_awaitable_can_be_waited_for(thread: LoopThread, awaitable: Callable[[], Awaitable[Any]]) -> None:
    assert thread.run(run_synchronous(lambda: wait(awaitable()))) in (8, [8])


def test_a_future_that_is_done_is_handed_in_at_once(thread: LoopThread) -> None:
    def take() -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        future.set_result("done")
        return wait(future)

    assert thread.run(run_synchronous(take)) == "done"


@pytest.mark.parametrize("error", [ExpectedError("x"), asyncio.CancelledError(), BaseException("x")])
def test_an_exception_of_the_function_comes_out(thread: LoopThread, error: BaseException) -> None:
    async def run() -> BaseException | None:
        try:
            await run_synchronous(raise_error, error)
        except BaseException as raised:
            return raised
        return None

    assert thread.run(run()) is error


def test_an_exception_of_what_is_waited_for_comes_in(thread: LoopThread) -> None:
    def catch() -> int:
        with pytest.raises(ExpectedError):
            wait(fail(ExpectedError()))
        return wait(double(3))

    assert thread.run(run_synchronous(catch)) == 6


def test_an_exception_that_is_not_caught_passes_through(thread: LoopThread) -> None:
    error = ExpectedError()
    with pytest.raises(ExpectedError) as raised:
        thread.run(run_synchronous(lambda: wait(fail(error))))
    assert raised.value is error
    assert thread.run(run_synchronous(wait_and_add, 1)) == 4


def test_what_cannot_be_awaited_is_an_error_of_the_function(thread: LoopThread) -> None:
    def catch() -> str:
        with pytest.raises(TypeError):
            wait(5)  # type: ignore[arg-type]
        return "caught"

    assert thread.run(run_synchronous(catch)) == "caught"


def test_waits_may_be_nested(thread: LoopThread) -> None:
    def descend(depth: int) -> int:
        return depth if depth == 0 else wait(run_synchronous(descend, depth - 1)) + wait(double(1))

    assert thread.run(run_synchronous(descend, 30)) == 60


def test_many_functions_wait_at_once(thread: LoopThread) -> None:
    count = 500
    running = 0
    most = 0

    def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        wait(asyncio.sleep(0.001 * (number % 7)))
        running -= 1
        return wait(double(number))

    async def run_all() -> list[int]:
        return await asyncio.gather(*(run_synchronous(work, number) for number in range(count)))

    assert thread.run(run_all()) == [2 * number for number in range(count)]
    assert most == count


def test_cancelling_the_task_interrupts_the_wait(thread: LoopThread) -> None:
    steps: list[str] = []

    def work() -> None:
        try:
            wait(asyncio.sleep(100))
        finally:
            steps.append("cleaned up")
            wait(asyncio.sleep(0))
            steps.append("waited again")

    async def run() -> bool:
        task = asyncio.create_task(run_synchronous(work))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert thread.run(run())
    assert steps == ["cleaned up", "waited again"]
    assert thread.run(run_synchronous(wait_and_add, 1)) == 4


def test_a_function_may_survive_a_cancellation(thread: LoopThread) -> None:
    def work() -> str:
        try:
            wait(asyncio.sleep(100))
        except asyncio.CancelledError:
            return f"survived {wait(double(2))}"
        return ""

    async def run() -> str:
        task = asyncio.create_task(run_synchronous(work))
        await asyncio.sleep(0.01)
        task.cancel()
        return await task

    assert thread.run(run()) == "survived 4"


def test_a_task_that_is_cancelled_before_it_begins_runs_nothing(thread: LoopThread) -> None:
    calls: list[int] = []

    async def run() -> bool:
        task = asyncio.create_task(run_synchronous(calls.append, 1))
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert thread.run(run())
    assert calls == []


def test_greenlets_are_used_again_whatever_became_of_their_functions(thread: LoopThread) -> None:
    async def identify(function: Callable[..., Any], *arguments: object) -> int:
        seen: list[int] = []

        def work() -> None:
            seen.append(id(getcurrent()))
            function(*arguments)

        task = asyncio.create_task(run_synchronous(work))
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        return seen[0]

    async def run() -> set[int]:
        return {
            await identify(wait_and_add, 1),
            await identify(raise_error, ExpectedError()),
            await identify(lambda: wait(fail(ExpectedError()))),
            await identify(lambda: wait(asyncio.sleep(100))),
            await identify(wait_and_add, 1),
        }

    assert len(thread.run(run())) == 1


def test_functions_at_the_same_time_have_greenlets_of_their_own(thread: LoopThread) -> None:
    def work() -> int:
        wait(asyncio.sleep(0.001))
        return id(getcurrent())

    async def run() -> list[int]:
        return await asyncio.gather(*(run_synchronous(work) for _ in range(20)))

    first, second = set(thread.run(run())), set(thread.run(run()))
    assert len(first) == 20
    assert first == second


def test_a_function_does_not_see_the_context_variables_of_others(thread: LoopThread) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    def work(number: int) -> int:
        token = variable.set(number)
        wait(asyncio.sleep(0.001))
        seen = variable.get()
        variable.reset(token)
        return seen

    async def run() -> list[int]:
        return await asyncio.gather(*(run_synchronous(work, number) for number in range(20)))

    assert thread.run(run()) == list(range(20))


class Value:
    """Something that is handed in or out."""


def test_nothing_is_kept_of_a_function_that_is_over(thread: LoopThread) -> None:
    argument = Value()
    reference = weakref.ref(argument)

    thread.run(run_synchronous(lambda _: wait(asyncio.sleep(0)), argument))
    del argument
    gc.collect()
    assert reference() is None


def test_nothing_is_kept_of_its_result(thread: LoopThread) -> None:
    result = thread.run(run_synchronous(Value))
    reference = weakref.ref(result)
    del result
    gc.collect()
    assert reference() is None


def test_nothing_is_kept_of_its_exception(thread: LoopThread) -> None:
    async def run() -> "weakref.ref[ExpectedError]":
        error = ExpectedError()
        with suppress(ExpectedError):
            await run_synchronous(raise_error, error)
        return weakref.ref(error)

    reference = thread.run(run())
    gc.collect()
    assert reference() is None
