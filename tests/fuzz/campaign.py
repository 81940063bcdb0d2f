"""Sends many inputs to a server and checks what must hold whatever they are."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import psycopg
import uvloop

from tests.fuzz.identity import PROJECT_ID
from tests.fuzz.outcome import ROW_COLUMNS, Outcome, Row
from tests.process.polling import children_of, refuses_connections, wait_until
from tests.running_server import START_TIMEOUT_S, RunningServer

BLOCK = 1000

_ROWS = f"SELECT {ROW_COLUMNS} FROM http_requests WHERE project_id = %s"
_COUNT_OTHERS = "SELECT count(*) FROM http_requests WHERE project_id <> %s"


@dataclass(frozen=True)
class Target:
    """A kind of input: how one is made, and how many are sent to a server."""

    name: str
    make: Callable[[Random], bytes]
    send: Callable[[RunningServer, Sequence[bytes]], Awaitable[list[Outcome]]]


@dataclass(frozen=True)
class Failure:
    """An input that broke what must hold, or a block of them where no single one did it alone."""

    target: Target
    data: bytes
    problem: str


@dataclass
class Tally:
    """What became of the inputs of a target."""

    answers: Counter[str] = field(default_factory=Counter)
    inputs: int = 0
    accepted: int = 0
    expected: int = 0
    stored: int = 0


class Campaign:
    """Sends inputs to one server, which nothing else is sent to, and compares its table with its answers."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._workers = set(children_of(server.process.pid))
        self._logged = len(server.log.read_bytes())
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def run(self, target: Target, count: int, source: Random) -> tuple[Tally, list[Failure]]:
        """Send `count` inputs of a target and return what became of them, and which of them broke something."""
        tally = Tally()
        failures: list[Failure] = []
        for start in range(0, count, BLOCK):
            inputs = [target.make(source) for _ in range(min(BLOCK, count - start))]
            failures += self.send(target, inputs, tally)
        return tally, failures

    def send(self, target: Target, inputs: Sequence[bytes], tally: Tally) -> list[Failure]:
        """Send these inputs together, and one by one when something is wrong that no answer tells."""
        problems = list(self._send(target, inputs, tally))
        if all(data is not None for data, _ in problems):
            return [Failure(target, data, problem) for data, problem in problems if data is not None]
        failures = [
            Failure(target, data, problem) for data in inputs for _, problem in self._send(target, [data], Tally())
        ]
        return failures or [Failure(target, b"\n".join(inputs), f"{problems[-1][1]} (by no input alone)")]

    def close(self) -> None:
        """End the event loop."""
        self._runner.close()

    def _send(self, target: Target, inputs: Sequence[bytes], tally: Tally) -> Iterator[tuple[bytes | None, str]]:
        """Send inputs; yield what is wrong, with the input where it is known."""
        outcomes = self._runner.run(_run(target.send(self._server, inputs)))
        stored, others = self._take_rows()
        tally.inputs += len(inputs)
        tally.stored += stored.total()
        for data, outcome in zip(inputs, outcomes, strict=True):
            tally.answers.update(outcome.answers)
            tally.accepted += outcome.accepted > 0
            tally.expected += outcome.accepted
            if outcome.problem is not None:
                yield data, outcome.problem
        yield from ((None, problem) for problem in self._problems(outcomes, stored, others))

    def _problems(self, outcomes: Sequence[Outcome], stored: Counter[Row], others: int) -> Iterator[str]:
        known = [outcome.rows for outcome in outcomes if outcome.rows is not None]
        expected = Counter(row for rows in known for row in rows)
        if stored.total() != sum(outcome.accepted for outcome in outcomes):
            yield f"{stored.total()} rows stored, {sum(outcome.accepted for outcome in outcomes)} acknowledged"
        elif known and stored != expected:
            yield f"stored {list((stored - expected).items())[:3]} instead of {list((expected - stored).items())[:3]}"
        if others:
            yield f"{others} rows of another project"
        if set(children_of(self._server.process.pid)) != self._workers:
            yield "a worker ended"
            self._wait_for_workers()
        if lines := [line for line in self._read_log() if not _is_routine(line)]:
            yield f"in the log: {lines[:20]}"

    def _read_log(self) -> list[str]:
        """Return the whole lines that came since the last look."""
        with self._server.log.open("rb") as log:
            log.seek(self._logged)
            written = log.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._logged += len(whole)
        return whole.decode(errors="replace").splitlines()

    def _wait_for_workers(self) -> None:
        ports = (self._server.http_port, self._server.grpc_port)
        wait_until(lambda: not any(map(refuses_connections, ports)), "workers are started again", START_TIMEOUT_S)
        self._workers = set(children_of(self._server.process.pid))

    def _take_rows(self) -> tuple[Counter[Row], int]:
        """Return the rows that were stored since the last call, and how many there are of other projects."""
        with psycopg.connect(self._server.database_url) as connection:
            rows = Counter(connection.execute(_ROWS, (PROJECT_ID,)).fetchall())
            others = connection.execute(_COUNT_OTHERS, (PROJECT_ID,)).fetchone()
            connection.execute("TRUNCATE http_request_rows")
        return rows, others[0] if others else 0


async def _run(sending: Awaitable[list[Outcome]]) -> list[Outcome]:
    return await sending


def _is_routine(line: str) -> bool:
    """Tell whether a line of the log is of a request that was refused, or of a worker's ordinary life."""
    try:
        return bool(json.loads(line)["level"] == "info")
    except (ValueError, KeyError):
        return False
