"""Threads that share the processors of a machine, and an event loop in a thread, in simulated time."""

import heapq
import math
from collections import deque
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Thread:
    """What does one piece of work after the other, each of so many seconds of a processor."""

    def __init__(self, machine: "Machine") -> None:
        self.left = 0.0  # of the present piece
        self.asked = 0.0  # in all, done or not
        self._machine = machine
        self._action: Action | None = None
        self._queue: deque[tuple[float, Action | None]] = deque()

    def work(self, seconds: float, then: Action | None = None) -> None:
        """Do a piece of work after those that wait, and `then` something at once."""
        self.asked += seconds
        self._queue.append((seconds, then))
        if self not in self._machine.busy:
            self._begin()

    def end(self) -> None:
        """Go on after a piece of work; for the machine."""
        then = self._action
        self._machine.busy.pop(self)
        if self._queue:
            self._begin()
        if then is not None:
            then()

    def _begin(self) -> None:
        self.left, self._action = self._queue.popleft()
        self._machine.busy[self] = None


class Machine:
    """Processors that are shared evenly by what wants them; a thread gets one at most."""

    def __init__(self, cores: float) -> None:
        self.now = 0.0
        self.busy: dict[Thread, None] = {}  # in the order in which they began
        self._cores = cores
        self._timers: list[tuple[float, int, Action]] = []
        self._numbers = count()

    def after(self, seconds: float, action: Action) -> None:
        """Do something in so many seconds, which takes no processor."""
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), action))

    def run(self, until: float) -> None:
        """Let time go on."""
        while True:
            speed = min(1.0, self._cores / len(self.busy)) if self.busy else 1.0
            first = min(self.busy, key=lambda thread: thread.left, default=None)
            ends_at = self.now + first.left / speed if first is not None else math.inf
            timer_at = self._timers[0][0] if self._timers else math.inf
            now = min(ends_at, timer_at, until)
            for thread in self.busy:
                thread.left -= (now - self.now) * speed
            self.now = now
            if now >= until:
                return
            if timer_at <= ends_at:
                heapq.heappop(self._timers)[2]()
            elif first is not None:
                first.left = 0.0
                first.end()


class EventLoop:
    """What a thread does in turns, as libuv does: all that has arrived, then all that was left for the turn's end."""

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._is_running = False
        self._received: list[tuple[float, Action | None]] = []
        self._soon: list[tuple[float, Action | None]] = []

    def receive(self, seconds: float, then: Action | None = None) -> None:
        """Do what has arrived from outside, in the next turn."""
        self._received.append((seconds, then))
        self._wake()

    def soon(self, seconds: float, then: Action | None = None) -> None:
        """Do something at the end of this turn; if it is that already, at the end of the next one."""
        self._soon.append((seconds, then))
        self._wake()

    def _wake(self) -> None:
        if not self._is_running:
            self._is_running = True
            self._turn()

    def _turn(self) -> None:
        self._received = self._do(self._received, self._end_turn)

    def _end_turn(self) -> None:
        self._soon = self._do(self._soon, self._next_turn)

    def _next_turn(self) -> None:
        self._is_running = bool(self._received or self._soon)
        if self._is_running:
            self._turn()

    def _do(self, pieces: list[tuple[float, Action | None]], then: Action) -> list[tuple[float, Action | None]]:
        for piece in pieces:
            self._thread.work(*piece)
        self._thread.work(0.0, then)
        return []
