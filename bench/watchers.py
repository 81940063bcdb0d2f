"""`python -m bench.watchers`: what people who look at the pages cost ingest.

Ten people have the overview on automatic refresh, and five watch requests live, while the server takes rows: at a low
even rate, which shows what they take on a machine that is busy with other work, too, and as fast as it can. Runs with
and without them take turns, in the order ABBA, so that what grows meanwhile counts for neither.
"""

import http.client
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Process, Queue
from statistics import median
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from bench.data import make_batches
from bench.generators import generate, generate_timed
from bench.processes import CpuMeter, RunningServer, run_server
from bench.targets import HTTP, INGEST_PATH, Shape
from http_bridge.pages.asking import REFRESH_HEADER
from http_bridge.pages.ranges import DEFAULT, RELATIVES
from storage.keys.api_keys import Scope, create_key

PEOPLE = 10
LIVE_VIEWS = 5
OVERVIEW, LIVE = "/", "/live/events"
ROUNDS = 2  # each of two runs with them and two without
LOW_RATE = 20.0  # batches a second
SECONDS = 10.0
SHAPE = Shape(HTTP, 100, 16)
TIMEOUT_S = 60.0


class Seen(NamedTuple):
    """What the watchers of a run got: the time of each overview in seconds, and the bytes of all live views."""

    overviews: list[float]
    live_bytes: int


class Run(NamedTuple):
    """A run: rows/s acknowledged, and how many processors the server and Postgres had in use."""

    rows: float
    server: float
    postgres: float


def main() -> None:
    """Measure and print."""
    with run_server() as server:
        cookie = log_in(server)
        measure(server, None)  # caches are warm, and there is something to see
        for rate in (LOW_RATE, None):
            compare(server, cookie, rate)


def compare(server: RunningServer, cookie: str, rate: float | None) -> None:
    """Measure at a rate of batches, None for the highest, with and without people who look, and print it."""
    refresh_s = RELATIVES[DEFAULT].refresh_s
    runs: dict[bool, list[Run]] = {False: [], True: []}
    overviews: list[float] = []
    for number in range(4 * ROUNDS):
        is_watched = number % 4 in (1, 2)
        with watch(server, cookie, refresh_s) if is_watched else nobody() as seen:
            runs[is_watched].append(measure(server, rate))
        if is_watched:
            got = seen.get()
            if not got.overviews or not got.live_bytes:
                sys.exit("void: the watchers got nothing")
            overviews += got.overviews
    alone, watched = (Run(*map(median, zip(*runs[is_watched], strict=True))) for is_watched in (False, True))
    pace = "as fast as it is answered" if rate is None else f"{rate:g} batches/s"
    title = f"{SHAPE}, {pace}; {PEOPLE} overviews every {refresh_s} s, {LIVE_VIEWS} live views"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("median", "alone", "watched", "watched : alone"):
        table.add_column(heading, justify="right" if heading != "median" else "left")
    for name, before, after in zip(("rows/s", "server, cores", "Postgres, cores"), alone, watched, strict=True):
        table.add_row(name, f"{before:,.3f}", f"{after:,.3f}", f"{after / before:.2f}")
    Console(width=120).print(table)
    Console().print(f"an overview took {median(overviews) * 1000:,.0f} ms (median of {len(overviews)})")


def measure(server: RunningServer, rate: float | None) -> Run:
    """Load the server and return what came of it."""
    batches = make_batches(server.project_id, server.target.api_key, SHAPE.batch_rows, path=INGEST_PATH)
    began_at = time.monotonic()
    with CpuMeter(server) as cpu:
        if rate is None:
            load = generate(server.target, SHAPE, batches, SECONDS)
        else:
            load = generate_timed(server.target, SHAPE, batches, SECONDS, rate=rate)
    seconds = time.monotonic() - began_at
    return Run(load.requests * SHAPE.batch_rows / seconds, cpu.server_seconds / seconds, cpu.postgres_seconds / seconds)


def log_in(server: RunningServer) -> str:
    """Return the Cookie header of a session that began with a new read key."""
    with psycopg.connect(server.database_url, autocommit=True) as database:
        _, raw_key = create_key(database, UUID(server.project_id), "watchers", scope=Scope.READ)
    page = ask(server.target.http, "/login", "")
    visitor = page.getheader("Set-Cookie", "").partition(";")[0]
    token = page.read().decode().partition('name="csrf_token" value="')[2].partition('"')[0]
    form = urlencode({"csrf_token": token, "key": raw_key})
    answer = ask(server.target.http, "/login", visitor, form)
    if answer.status != http.HTTPStatus.SEE_OTHER:
        sys.exit(f"void: no login, {answer.status}")
    return answer.getheader("Set-Cookie", "").partition(";")[0]


def ask(
    address: tuple[str, int], path: str, cookie: str, form: str | None = None, *, refreshes: bool = False
) -> http.client.HTTPResponse:
    """Return the answer to a request over a connection of its own; `refreshes`: of a page that refreshes itself."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    if refreshes:
        headers[REFRESH_HEADER] = "1"
    connection.request("GET" if form is None else "POST", path, form, headers)
    return connection.getresponse()


@contextmanager
def nobody() -> "Iterator[Queue[Seen]]":
    """Have nobody look."""
    yield Queue()


@contextmanager
def watch(server: RunningServer, cookie: str, refresh_s: float) -> "Iterator[Queue[Seen]]":
    """Have people look at the pages from a process of its own; at the end, what they saw is in the queue."""
    seen: Queue[Seen] = Queue()
    stop: Queue[None] = Queue()
    process = Process(target=_watch, args=(server.target.http, cookie, refresh_s, stop, seen), daemon=True)
    process.start()
    try:
        yield seen
        stop.put(None)
    finally:
        process.join(TIMEOUT_S) if sys.exc_info()[0] is None else process.kill()


def _watch(address: tuple[str, int], cookie: str, refresh_s: float, stop: "Queue[None]", seen: "Queue[Seen]") -> None:
    overviews: list[float] = []
    live_bytes: list[int] = []
    ended = threading.Event()

    def refresh(offset_s: float) -> None:
        ended.wait(offset_s)
        while not ended.is_set():
            began_at = time.monotonic()
            answer = ask(address, OVERVIEW, cookie, refreshes=True)
            answer.read()
            if answer.status == http.HTTPStatus.OK:
                overviews.append(time.monotonic() - began_at)
            ended.wait(refresh_s - (time.monotonic() - began_at))

    def follow() -> None:
        answer = ask(address, LIVE, cookie)
        while not ended.is_set() and (data := answer.read1(2**16)):
            live_bytes.append(len(data))

    refreshing = [
        threading.Thread(target=refresh, args=(refresh_s * number / PEOPLE,), daemon=True) for number in range(PEOPLE)
    ]
    for each in [*refreshing, *(threading.Thread(target=follow, daemon=True) for _ in range(LIVE_VIEWS))]:
        each.start()
    stop.get()
    ended.set()
    for each in refreshing:  # what was asked for is waited for
        each.join()
    seen.put(Seen(overviews, sum(live_bytes)))


if __name__ == "__main__":
    main()
