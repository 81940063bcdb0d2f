"""`make data`: a month of telemetry in a database of one's choice."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psycopg

from tests.patience import PATIENCE_S

ROWS = 3_000
FIGURES = """
SELECT project_id, count(*), count(DISTINCT host), count(DISTINCT trace_id), max(duration_ms),
       min("timestamp"), max("timestamp"), bool_and(received_at >= "timestamp" - interval '1 s')
  FROM http_requests GROUP BY ROLLUP (project_id) ORDER BY count(*) DESC, project_id NULLS FIRST
"""


def fill(url: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bench.month", str(ROWS), *flags],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        env={**os.environ, "SEESTACK_DATABASE_URL": url},
    )  # fmt: skip


def test_a_database_is_filled_once_with_exactly_so_many_rows(empty_database_url: str) -> None:
    end = datetime.now(UTC)
    done = fill(empty_database_url)
    assert done.returncode == 0, done.stderr
    with psycopg.connect(empty_database_url) as connection:
        (whole, *projects) = connection.execute(FIGURES).fetchall()
        in_older = connection.execute("SELECT count(*) FROM http_request_rows_older").fetchone()
    _, rows, hosts, traces, longest, first, last, is_received_later = whole
    assert (rows, len(projects), in_older) == (ROWS, 20, (0,))
    assert 50 < hosts <= 100
    assert ROWS / 6 < traces < ROWS
    assert longest > 300
    assert end - timedelta(days=30, hours=1) < first < end - timedelta(days=29)
    assert end - timedelta(days=1) < last < end
    assert is_received_later
    refused = fill(empty_database_url)
    assert refused.returncode == 1
    assert "--add" in refused.stderr
