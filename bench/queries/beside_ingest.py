"""`python -m bench.queries.beside_ingest`: what ten queries a second cost ingest that is as fast as it can be.

Runs with and without queries take turns, in the order ABBA, so that what grows meanwhile counts for neither. At the end
an answer is compared with the number of rows that were acknowledged.
"""

import argparse
import math
import queue
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count, cycle, islice
from multiprocessing import Process, Queue
from statistics import median, quantiles
from typing import Any, Final
from uuid import UUID

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from bench.processes import RunningServer, run_server
from bench.queries.asking import Asker
from bench.table import count_rows
from bench.watchers import SHAPE, Run, measure
from storage.keys.api_keys import Scope, create_key

ROUNDS: Final = 3  # each of two runs with queries and two without
RATE: Final = 10.0  # queries a second
CONNECTIONS: Final = 4
RANGES: Final = (timedelta(days=1), timedelta(days=30))
QUESTIONS: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("stats", {}), ("timeseries", {}), ("top-hosts", {}), ("top-endpoints", {}),
    ("", {"statusGroup": "5xx"}), ("stats", {"statusGroup": "failed"}),
)  # fmt: skip
JOIN_S: Final = 60.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.queries.beside_ingest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of four runs each (default: {ROUNDS})")
    rounds = parser.parse_args().rounds
    runs: dict[bool, list[Run]] = {False: [], True: []}
    times: list[float] = []
    with run_server() as server, psycopg.connect(server.database_url, autocommit=True) as database:
        _, key = create_key(database, UUID(server.project_id), "bench", scope=Scope.READ)
        measure(server, None)  # there is something to ask for
        for number in range(4 * rounds):
            is_asked = number % 4 in (1, 2)
            if is_asked:
                with asking(server, key) as answered:
                    runs[True].append(measure(server, None))
                times += answered
            else:
                runs[False].append(measure(server, None))
        check(server, key, count_rows(database))
    show(runs[False], runs[True], times)


def check(server: RunningServer, key: str, stored: int) -> None:
    """End the benchmark unless an answer has all rows."""
    answer, _ = Asker(server.target.http[1], key).ask("stats", **within(timedelta(days=30)))
    if answer["totalRequests"] != stored:
        sys.exit(f"void: {stored} rows are stored, an answer has {answer['totalRequests']}")


def within(length: timedelta) -> dict[str, Any]:
    """Return the parameters of a range that has all rows that come meanwhile."""
    end = datetime.now(UTC) + timedelta(hours=1)
    return {"from": (end - length).isoformat(), "to": end.isoformat()}


@contextmanager
def asking(server: RunningServer, key: str) -> Iterator[list[float]]:
    """Ask at RATE from processes of their own; at the end, the list has the milliseconds of all answers."""
    times: list[float] = []
    answered: Queue[list[float]] = Queue()
    stop: Queue[None] = Queue()
    processes = [
        Process(target=_ask, args=(server.target.http[1], key, number, stop, answered), daemon=True)
        for number in range(CONNECTIONS)
    ]
    for process in processes:
        process.start()
    try:
        yield times
        for _ in processes:
            stop.put(None)
        for _ in processes:
            times += answered.get(timeout=JOIN_S)
    finally:
        for process in processes:
            process.kill()


def _ask(port: int, key: str, offset: int, stop: "Queue[None]", answered: "Queue[list[float]]") -> None:
    """Ask one of CONNECTIONS in turn; what is late is asked at once, and its time counts from when it was due."""
    asker = Asker(port, key)
    times: list[float] = []
    began_at = time.monotonic()
    asked = cycle((question, length) for length in RANGES for question in QUESTIONS)
    for number, ((question, options), length) in zip(
        count(offset, CONNECTIONS), islice(asked, offset, None, CONNECTIONS), strict=False
    ):
        due_at = began_at + number / RATE
        try:
            stop.get(timeout=max(0.001, due_at - time.monotonic()))
            break
        except queue.Empty:
            try:
                asker.ask(question, **within(length), **options)
            except RuntimeError:  # it took longer than a query may
                times.append(math.inf)
            else:
                times.append((time.monotonic() - due_at) * 1000)
    answered.put(times)


def show(alone: list[Run], asked: list[Run], times: list[float]) -> None:
    """Print the table."""
    title = f"{SHAPE}, as fast as it is answered; {RATE:g} queries a second"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("median", "alone", "with queries", "with : alone"):
        table.add_column(heading, justify="right" if heading != "median" else "left")
    before, after = (Run(*map(median, zip(*runs, strict=True))) for runs in (alone, asked))
    for name, without, beside in zip(("rows/s", "server, cores", "Postgres, cores"), before, after, strict=True):
        table.add_row(name, f"{without:,.3f}", f"{beside:,.3f}", f"{beside / without:.2f}")
    Console(width=120).print(table)
    answered = [each for each in times if each < math.inf]
    p95 = quantiles(answered, n=20, method="inclusive")[-1]
    told = f"{len(times)} queries, {len(times) - len(answered)} of which took too long"
    Console().print(f"{told}; the others took {median(answered):,.0f} ms (median; p95 {p95:,.0f} ms)")


if __name__ == "__main__":
    main()
