"""Which ranges of the BRIN indexes have a summary, and that rows are found with and without."""

from datetime import date

import psycopg
import pytest

from storage import brin_ranges
from storage.brin_ranges import RangeSummaries
from storage.partitions import partition_name
from tests.storage.day_rows import TODAY, insert_day_rows

pytestmark = pytest.mark.one_postgres("it is done shard by shard there, see tests/citus")

DAY = partition_name(TODAY)
TRACE_INDEX = f"{DAY}_trace_other_trace_idx"
FILLED_RANGES = 3
# A range has 32 pages of about 66 such rows.
FILLED_ROWS = int((FILLED_RANGES + 0.5) * 32 * 66)

_TRACES = "SELECT trace FROM http_request_rows ORDER BY id"
_FIND = "SELECT count(*) FROM http_request_rows WHERE trace = %s"
_EXPLAIN = f"EXPLAIN {_FIND}"
_NO_SCANS = "SET enable_seqscan = off"


def summarize_rest(connection: psycopg.Connection, index: str) -> int:
    """Summarize an index to its very end, and return how many ranges had no summary."""
    row = connection.execute("SELECT brin_summarize_new_values(%s::regclass)", (index,)).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(autouse=True)
def _small_open_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brin_ranges, "OPEN_PAGES", 0)
    monkeypatch.setattr(brin_ranges, "CHUNK_RANGES", 2)


@pytest.mark.parametrize("day", [TODAY, date(1999, 1, 1), date(2999, 1, 1)])
def test_rows_of_a_new_partition_land_in_a_range_without_summary(connection: psycopg.Connection, day: date) -> None:
    insert_day_rows(connection, day, 1)
    filled = connection.execute("SELECT DISTINCT tableoid::regclass::text FROM http_request_rows").fetchall()
    for columns in ("trace_other_trace", "transaction"):
        assert summarize_rest(connection, f"{filled[0][0]}_{columns}_idx") == 1


def test_full_ranges_get_a_summary_once_and_the_last_one_does_not(connection: psycopg.Connection) -> None:
    insert_day_rows(connection, TODAY, FILLED_ROWS)
    first, second = RangeSummaries(), RangeSummaries()
    assert first.summarize(connection) == FILLED_RANGES
    assert first.summarize(connection) == second.summarize(connection) == 0
    assert summarize_rest(connection, TRACE_INDEX) == 1


def test_a_table_that_was_truncated_is_summarized_from_its_begin(connection: psycopg.Connection) -> None:
    insert_day_rows(connection, TODAY, 2 * FILLED_ROWS)
    summaries = RangeSummaries()
    assert summaries.summarize(connection) > FILLED_RANGES
    connection.execute("TRUNCATE http_request_rows")
    insert_day_rows(connection, TODAY, FILLED_ROWS)
    # An index that is made anew has a summary of its first range.
    assert summaries.summarize(connection) == FILLED_RANGES - 1


def test_one_index_can_be_summarized_before_the_others(connection: psycopg.Connection) -> None:
    insert_day_rows(connection, TODAY, FILLED_ROWS)
    assert RangeSummaries("http_request_rows_transaction").summarize(connection) == 0  # its ranges are longer
    assert RangeSummaries("http_request_rows_trace").summarize(connection) == FILLED_RANGES
    assert RangeSummaries().summarize(connection) == 0


def test_traces_are_found_by_the_index_in_ranges_with_and_without_a_summary(connection: psycopg.Connection) -> None:
    insert_day_rows(connection, TODAY, FILLED_ROWS)
    RangeSummaries().summarize(connection)
    connection.execute(_NO_SCANS)
    traces = [trace for (trace,) in connection.execute(_TRACES).fetchall()]
    for trace in (traces[0], traces[-1]):
        assert connection.execute(_FIND, (trace,)).fetchone() == (1,)
        plan = " ".join(line for (line,) in connection.execute(_EXPLAIN, (trace,)).fetchall())
        assert f"Bitmap Index Scan on {TRACE_INDEX}" in plan


def test_a_partition_that_is_locked_has_its_turn_later(connection: psycopg.Connection, migrated_url: str) -> None:
    insert_day_rows(connection, TODAY, FILLED_ROWS)
    summaries = RangeSummaries()
    with psycopg.connect(migrated_url) as other:
        other.execute(f"LOCK TABLE {DAY} IN SHARE UPDATE EXCLUSIVE MODE".encode())
        assert summaries.summarize(connection) == 0
    assert summaries.summarize(connection) > 0
