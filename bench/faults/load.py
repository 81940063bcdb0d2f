"""A load in a process of its own, started and stopped by the injection of faults.

Clients of gRPC do not survive the fork by which root starts Postgres as another user.
"""

import asyncio
import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from bench.faults.clients import TIMEOUT_S, Clients, Target
from bench.faults.record import PROTOCOLS, Record

TELL_INTERVAL_S = 0.2

_context = multiprocessing.get_context("spawn")


class Load:
    """Sends to a server between entry and `stop`."""

    def __init__(self, target: Target) -> None:
        self._pipe, pipe = _context.Pipe()
        # When a batch was last acknowledged over each protocol.
        self._last = _context.RawArray("d", len(PROTOCOLS))
        self._process = _context.Process(target=_run, args=(target, pipe, self._last), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()

    def is_acknowledged_since(self, moment: float) -> bool:
        """Tell whether every protocol had a batch acknowledged after `moment` (of the monotonic clock)."""
        return all(at > moment for at in self._last)

    def stop(self) -> Record:
        """Send no more, wait until every batch has its outcome, and return them all."""
        self._pipe.send(None)
        if not self._pipe.poll(2 * TIMEOUT_S):
            raise TimeoutError("the clients did not end")
        record = self._pipe.recv()
        assert isinstance(record, Record)
        return record


def _run(target: Target, pipe: Connection, last: "list[float]") -> None:
    # Ctrl-C is for the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    record = Record()
    asyncio.run(_send(target, pipe, last, record))
    record.ended_at = time.monotonic()
    pipe.send(record)


async def _send(target: Target, pipe: Connection, last: "list[float]", record: Record) -> None:
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), is_over.set)
    telling = asyncio.create_task(_tell(last, record))
    await Clients(target, record, is_over).run()
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    telling.cancel()


async def _tell(last: "list[float]", record: Record) -> None:
    while True:
        for index, protocol in enumerate(PROTOCOLS):
            traces = record.acknowledged[protocol]
            if traces:
                last[index] = next(reversed(traces.values()))
        await asyncio.sleep(TELL_INTERVAL_S)
