"""Waiting inside synchronous code without blocking the event loop that runs it.

Flask's views are plain functions, and what they wait for (a body, a key, a commit) happens on an event loop. A
greenlet lets such a function be suspended and resumed, which costs far less than a thread.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

Result = TypeVar("Result")

# Greenlets are used again: the interpreter maps and unmaps memory for each new one's frames.
_idle: list[greenlet] = []


class _Finished:
    """What a greenlet hands back when its function is over; anything else is to be awaited for it."""

    def __init__(self, result: Any = None, error: BaseException | None = None) -> None:
        self._result = result
        self._error = error

    def take(self) -> Any:
        """Return the result or raise the error, and forget it: an idle greenlet still refers to this object."""
        result, error = self._result, self._error
        self._result = self._error = None
        try:
            if error is not None:
                raise error
            return result
        finally:
            del error


async def run_synchronous(function: "Callable[..., Result]", *arguments: object) -> "Result":
    """Return `function(*arguments)`, a function that may call `wait`; only to be called on the event loop's thread."""
    worker = _idle.pop() if _idle else _start()
    outcome = worker.switch(function, arguments)
    while not isinstance(outcome, _Finished):
        try:
            value = await outcome
        except BaseException as error:
            outcome = worker.throw(error)
        else:
            outcome = worker.switch(value)
    _idle.append(worker)
    result: Result = outcome.take()
    return result


def wait(awaitable: "Awaitable[Result]") -> "Result":
    """Return what `awaitable` gives; only to be called in what `run_synchronous` runs."""
    event_loop = getcurrent().parent
    assert event_loop is not None  # noqa: S101 - only the outermost greenlet has no parent
    result: Result = event_loop.switch(awaitable)
    return result


def _start() -> greenlet:
    worker = greenlet(_work)
    worker.switch()  # what a greenlet's first switch is given lives as long as the greenlet
    return worker


def _work() -> None:
    """Call one function after the other, each given by the switch that brings control back here."""
    event_loop = getcurrent().parent
    assert event_loop is not None  # noqa: S101 - see wait
    function, arguments = event_loop.switch()
    while True:
        try:
            outcome = _Finished(function(*arguments))
        except BaseException as error:
            outcome = _Finished(error=error)
        del function, arguments
        function, arguments = event_loop.switch(outcome)
