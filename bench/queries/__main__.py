"""`python -m bench.queries`: asks the database of the settings, filled by `make data`, and compares with its rows.

The answers come from a real server over HTTP; each is checked. The last column says where a bar is missed, or is none.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from bench.month_story import project_names
from bench.processes import cpu_seconds
from bench.queries.asking import Asker, run_on
from bench.queries.rows_sql import (
    LISTS,
    QUESTIONS,
    Figures,
    count_matches,
    figures_of_rows,
    first_ids,
    some_traces,
)
from server.database.setup import open_database, prepare_schema
from server.settings import load_settings
from storage.closed_days import days_to_close
from storage.database import connect
from storage.keys.api_keys import Scope, create_key
from storage.keys.projects import find_project
from storage.rollups.state import read_state

ASKS: Final = 20
RANGES: Final = {"24 h": timedelta(days=1), "30 days": timedelta(days=30)}
HOUR_S: Final = 3_600
STEPS_S: Final = {"24 h": HOUR_S, "30 days": 3 * HOUR_S}
LEAST_RATIO: Final = 50
RAREST: Final = 10_000  # rows of which one matches: a list of fewer has no bar
# The most that the 95th percentile may be, in milliseconds.
BARS: Final = {"list": 20, "by-trace": 30}
FILTERED_BAR: Final = 100
SUMS_BAR: Final = 50
VALUES: Final = {
    "list host": ("dependency-20.example.net", "stock.month-01.example.com"),
    "list path": ("history/77", "history/7777", "draft-events"),
    "list statusGroup": ("5xx",),
    "list": (None,),
}
_NAMES: Final = {"list host": "host", "list path": "path", "list statusGroup": "statusGroup"}
_LAST: Final = 'SELECT max("timestamp"), max(transaction), count(*) FROM http_request_rows'


class Measured(NamedTuple):
    """A line of the table; milliseconds."""

    question: str
    of_range: str
    p50: float
    p95: float
    cpu: float  # of server and Postgres together, of one ask
    rows_ms: float | None  # by SQL over the rows
    note: str
    bar: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster it is than the rows."""
        return None if self.rows_ms is None else self.rows_ms / self.p50

    @property
    def missed(self) -> str:
        """What falls short, or why nothing can."""
        if self.bar is None:
            return f"no bar: rarer than one in {RAREST:,}"
        falls = [f"p95 above {self.bar:g} ms"] if self.p95 > self.bar else []
        if self.ratio is not None and self.ratio < LEAST_RATIO:
            falls.append(f"less than {LEAST_RATIO} times faster")
        return ", ".join(falls)


def main() -> None:
    """Ask, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--asks", type=int, default=ASKS, help=f"times that each question is asked (default: {ASKS})")
    arguments = parser.parse_args()
    with open_database(load_settings(), may_create=False) as (url, _), connect(url) as database:
        prepare_schema(database)
        project = find_project(database, project_names()[0])
        _, key = create_key(database, project.id, "bench", scope=Scope.READ)
        with run_on(url) as (port, server):
            end, rows = wait_until_ready(database)
            bench = Bench(Asker(port, key), database, project.number, end, arguments.asks, server)
            measured = list(bench.run())
    show(measured, rows)
    if arguments.json:
        arguments.json.write_text(
            json.dumps([{**each._asdict(), "ratio": each.ratio, "missed": each.missed} for each in measured], indent=2)
        )


def wait_until_ready(database: psycopg.Connection) -> tuple[datetime, int]:
    """Wait for the rollups and for days to be closed; return the end of the rows, and their number."""
    row = database.execute(_LAST).fetchone()
    assert row is not None
    end, last, rows = row
    with Console(stderr=True).status("rows are summed up, days are closed"):
        while read_state(database).mark <= last or days_to_close(database, datetime.now(UTC)):
            time.sleep(1)
    return end + timedelta(microseconds=1), rows


class Bench:
    """Asks each question some times, and once the rows."""

    def __init__(
        self,
        asker: Asker,
        database: psycopg.Connection,
        project: int,
        end: datetime,
        asks: int,
        server: psutil.Process,
    ) -> None:
        self._processes = (server, psutil.Process(database.info.backend_pid).parent() or server)
        self._asker = asker
        self._database = database
        self._project = project
        self._end = end
        self._asks = asks
        self._cpu_ms = 0.0  # of the last question

    def run(self) -> Iterator[Measured]:
        """Yield what was measured. Raises RuntimeError where an answer is wrong."""
        for of_range, length in RANGES.items():
            for question in QUESTIONS:
                yield self._sums(question, of_range, length)
        for of_range, length in RANGES.items():
            for question, values in VALUES.items():
                for value in values:
                    yield self._list(question, value, of_range, length)
        for of_range, length in RANGES.items():
            yield self._traces(of_range, length)

    def _sums(self, question: str, of_range: str, length: timedelta) -> Measured:
        step = STEPS_S[of_range]
        values = {"project": self._project, "from": self._end - length, "to": self._end, "step": step}
        began = time.perf_counter()
        wanted = figures_of_rows(self._database, question, values)
        rows_ms = (time.perf_counter() - began) * 1000
        options: dict[str, Any] = {"step": step} if question == "timeseries" else {}
        if question.startswith("top-"):
            options = {"sort": "requests"}
        answer, times = self._ask(question, lambda _: {**self._range(length), **options})
        found = dict(groups_of(question, answer))
        if not found or not all(sums.agrees_with(wanted[group]) for group, sums in found.items()):
            raise RuntimeError(f"{question} over {of_range}: not what the rows have")
        requests = sum(sums.requests for sums in wanted.values())
        return self._line(question, of_range, times, rows_ms, f"{len(wanted):,} groups, {requests:,} rows", SUMS_BAR)

    def _list(self, question: str, value: str | None, of_range: str, length: timedelta) -> Measured:
        values = {"project": self._project, "from": self._end - length, "to": self._end, "value": value}
        matches = count_matches(self._database, LISTS[question], values)
        all_rows = count_matches(self._database, LISTS["list"], values)
        wanted = first_ids(self._database, LISTS[question], values)
        options = {} if value is None else {_NAMES[question]: value}
        answer, times = self._ask("", lambda _: {**self._range(length), **options})
        if [item["id"] for item in answer["items"]] != wanted:
            raise RuntimeError(f"{question} {value} over {of_range}: not the rows")
        total = answer["pagination"]
        if total["totalIsExact"] and total["total"] != matches:
            raise RuntimeError(f"{question} {value} over {of_range}: not the number of rows")
        note = "" if value is None else f"{value}: " + (f"1 in {all_rows // matches:,}" if matches else "none")
        bar = None if matches * RAREST < all_rows else BARS.get(question, FILTERED_BAR)
        return self._line(question, of_range, times, None, note, bar)

    def _traces(self, of_range: str, length: timedelta) -> Measured:
        values = {"project": self._project, "from": self._end - length, "to": self._end}
        traces = some_traces(self._database, values, self._asks)
        day = timedelta(days=1)

        def parameters(number: int) -> dict[str, Any]:
            trace, begin = traces[number % len(traces)]
            within = {"from": (begin - day / 2).isoformat(), "to": (begin + day / 2).isoformat()}
            return {"traceId": trace, **(within if of_range == "24 h" else {})}

        answer, times = self._ask("by-trace", parameters)
        if not answer["items"]:
            raise RuntimeError("a trace has no rows")
        note = "a day around it" if of_range == "24 h" else "all time"
        return self._line("by-trace", of_range, times, None, note, BARS["by-trace"])

    def _ask(self, question: str, parameters: Callable[[int], dict[str, Any]]) -> tuple[Any, list[float]]:
        for number in range(3):
            self._asker.ask(question, **parameters(number))
        before = sum(map(cpu_seconds, self._processes))
        answers = [self._asker.ask(question, **parameters(number)) for number in range(self._asks)]
        self._cpu_ms = (sum(map(cpu_seconds, self._processes)) - before) / self._asks * 1000
        return answers[-1][0], [milliseconds for _, milliseconds in answers]

    def _range(self, length: timedelta) -> dict[str, str]:
        return {"from": (self._end - length).isoformat(), "to": self._end.isoformat()}

    def _line(
        self, question: str, of_range: str, times: list[float], rows_ms: float | None, note: str, bar: float | None
    ) -> Measured:
        p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
        return Measured(question, of_range, statistics.median(times), p95, self._cpu_ms, rows_ms, note, bar)


def groups_of(question: str, answer: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], Figures]]:
    """Yield the groups of an answer that have rows."""
    if question == "stats":
        yield (), figures_of(answer)
    elif question == "timeseries":
        for point in answer["points"]:
            if point["totalRequests"]:
                yield (int(datetime.fromisoformat(point["timestamp"]).timestamp()),), figures_of(point)
    else:
        names = ("host",) if question == "top-hosts" else ("method", "host", "endpoint")
        for item in answer["items"]:
            yield tuple(item[name] for name in names), figures_of(item)


def figures_of(answer: dict[str, Any]) -> Figures:
    """Return the figures that the rows have as well."""
    return Figures(
        answer["totalRequests"], answer["failedRequests"], tuple(answer[name] for name in ("p50", "p95", "p99"))
    )


def show(measured: list[Measured], rows: int) -> None:
    """Print the table."""
    table = Table(title=f"Queries, {rows:,} rows", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("", "range", "p50 ms", "p95 ms", "CPU ms", "rows ms", "ratio", "of", "missed"):
        table.add_column(heading, justify="right" if "ms" in heading or heading == "ratio" else "left")
    for each in measured:
        rows_ms = "" if each.rows_ms is None else f"{each.rows_ms:,.0f}"
        ratio = "" if each.ratio is None else f"{each.ratio:,.0f}"
        table.add_row(
            each.question,
            each.of_range,
            f"{each.p50:,.1f}",
            f"{each.p95:,.1f}",
            f"{each.cpu:,.1f}",
            rows_ms,
            ratio,
            each.note,
            each.missed,
        )
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
