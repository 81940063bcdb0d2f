"""`python -m bench.month [ROWS]`: fills a database with thirty days of telemetry that ends now.

It is the database of the settings (SEESTACK_DATABASE_URL or the embedded one of SEESTACK_DATA_DIR). The same seed and
end give the same rows, but for their ids.
"""

import argparse
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import NamedTuple

import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.month_story import DAYS, SLICE, SLICES, make_rows, make_systems, project_names, rows_by_slice
from server.database.setup import open_database, prepare_schema
from server.settings import load_settings
from storage.database import connect
from storage.errors import AlreadyExistsError
from storage.keys.projects import create_project, find_project
from storage.partitions import ensure_partition
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import copy_data

ROWS = 1_000_000
SEED = 1
SLICES_A_JOB = 12
MOST_ROWS_OF_A_BATCH = 1_000

_HAS_ROWS = "SELECT EXISTS (SELECT FROM http_request_rows)"
_FIRST_DAY = """
SELECT (regexp_match(pg_get_expr(relpartbound, oid), 'TO \\(''([^'']+)''\\)'))[1]::timestamptz
  FROM pg_class WHERE oid = 'http_request_rows_older'::regclass
"""
_DETACH_OLDER = "ALTER TABLE http_request_rows DETACH PARTITION http_request_rows_older"
_ATTACH_OLDER = (
    "ALTER TABLE http_request_rows ATTACH PARTITION http_request_rows_older FOR VALUES FROM (MINVALUE) TO ({})"
)


class Job(NamedTuple):
    """An hour of the month, to be stored in one transaction."""

    url: str
    seed: int
    first_slice: int
    end: datetime  # of the month
    rows: list[tuple[int, list[int]]]  # of each project: its number, and the rows of each slice


def main() -> None:
    """Fill the database, and show how far that is."""
    parser = argparse.ArgumentParser(prog="python -m bench.month", description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=ROWS, help=f"rows in all (default: {ROWS:,})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another one makes other rows (default: {SEED})")
    parser.add_argument("--end", type=datetime.fromisoformat, default=datetime.now(UTC), help="RFC 3339 (default: now)")
    parser.add_argument("--add", action="store_true", help="add to the rows of a database that has some")
    arguments = parser.parse_args()
    end = arguments.end.astimezone(UTC)
    end -= (end - datetime(1970, 1, 1, tzinfo=UTC)) % SLICE
    with open_database(load_settings(), may_create=True) as (url, _), connect(url) as connection:
        prepare_schema(connection)
        if not arguments.add and connection.execute(_HAS_ROWS).fetchone() == (True,):
            sys.exit("the database has rows: take an empty one, or --add to them")
        # A trace that ends in the first slice may have begun a day earlier.
        make_partitions(connection, (end - timedelta(days=DAYS, hours=1)).date(), end.date())
        numbers = [project_number(connection, name) for name in project_names()]
        fill(list(make_jobs(url, arguments.seed, arguments.rows, end, numbers)), arguments.rows)
        with Console(stderr=True).status("VACUUM ANALYZE"):
            connection.execute("VACUUM (ANALYZE) http_request_rows")
    print(
        f"{arguments.rows:,} rows of {len(numbers)} projects; the largest is {project_names()[0]}: "
        f"`seestack-ingest keys create --project {project_names()[0]} --scope read` gives a key to read them"
    )


def make_partitions(connection: psycopg.Connection, first_day: date, last_day: date) -> None:
    """Make a partition for each day, also for those before the schema was made, which otherwise share one."""
    midnight = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC)
    row = connection.execute(_FIRST_DAY).fetchone()
    if row is None or row[0] > midnight:
        with connection.transaction():
            connection.execute(_DETACH_OLDER)
            try:
                connection.execute(sql.SQL(_ATTACH_OLDER).format(sql.Literal(midnight)))
            except psycopg.errors.CheckViolation:
                sys.exit("the database has rows of the days that are to be filled, in one partition: take another one")
    for number in range((last_day - first_day).days + 1):
        ensure_partition(connection, first_day + timedelta(days=number))


def project_number(connection: psycopg.Connection, name: str) -> int:
    """Return the number of the project of that name, which is made if there is none."""
    try:
        return create_project(connection, name).number
    except AlreadyExistsError:
        return find_project(connection, name).number


def make_jobs(url: str, seed: int, rows: int, end: datetime, numbers: list[int]) -> Iterator[Job]:
    """Yield what is to be stored, the oldest first."""
    slices = rows_by_slice(rows, end)
    for first in range(0, SLICES, SLICES_A_JOB):
        counts = [each[first : first + SLICES_A_JOB] for each in slices]
        yield Job(url, seed, first, end, list(zip(numbers, counts, strict=True)))


def fill(jobs: list[Job], rows: int) -> None:
    """Do all jobs, in as many processes as there are processors."""
    console = Console(stderr=True)
    with (
        multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool,
        Progress(
            TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal,
        ) as progress,
    ):  # fmt: skip
        task = progress.add_task("rows", total=rows)
        for stored in pool.imap_unordered(store, jobs):
            progress.advance(task, stored)


def store(job: Job) -> int:
    """Make the rows of a job, store them, and return how many there were."""
    data = copy_data(encode(job))
    with connect(job.url) as connection, connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = off")
        with connection.cursor() as cursor, cursor.copy(HTTP_REQUESTS.form.copy_statement.encode()) as copy:
            copy.write(data)
    return sum(sum(counts) for _, counts in job.rows)


def encode(job: Job) -> Iterator[bytes]:
    """Yield the batches of a job in the order in which they came: of each slice, those of one project after another."""
    source = random.Random(f"{job.seed} {job.first_slice}")
    for number in range(SLICES_A_JOB):
        before_the_end = SLICE * (SLICES - job.first_slice - number)
        begin = job.end - before_the_end
        received_ms = int((begin + SLICE).timestamp() * 1000)
        for system, (project, counts) in zip(systems(), job.rows, strict=True):
            rows = make_rows(system, counts[number], begin, begin + SLICE, before_the_end=before_the_end, source=source)
            for first in range(0, len(rows), MOST_ROWS_OF_A_BATCH):
                columns = zip(*rows[first : first + MOST_ROWS_OF_A_BATCH], strict=True)
                values = dict(zip(rows[0]._fields, columns, strict=True))
                yield HTTP_REQUESTS.encode(project, values, received_ms=received_ms).data


systems = cache(make_systems)

if __name__ == "__main__":
    main()
