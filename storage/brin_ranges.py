"""Summaries of the BRIN indexes of `http_request_rows`.

A row that lands in a range that is summarized makes Postgres write the summary anew, which for a Bloom filter costs as
much as storing a hundred rows. So a range gets its summary only once it is full; readers scan those without.
"""

from collections.abc import Iterator
from typing import NamedTuple

import psycopg
from psycopg.errors import LockNotAvailable, UndefinedTable

from storage.database import durable_transaction

# Each writing connection fills a page of its own near the end, so ranges there are not full yet. 4 MiB.
OPEN_PAGES = 512
# A chunk is one statement, which holds back cleaning up in the whole database, and keeps others from these indexes.
CHUNK_RANGES = 64
# A partition that is locked, because it is rebuilt for example, has its turn next time.
LOCK_TIMEOUT = "200ms"

_INDEXES = """
SELECT brin.oid, pg_relation_filenode(indrelid), pages.per_range,
       pg_relation_size(indrelid) / current_setting('block_size')::int
  FROM pg_inherits
  JOIN pg_index ON indrelid = inhrelid
  JOIN pg_class AS brin ON brin.oid = indexrelid
  JOIN pg_am ON pg_am.oid = brin.relam AND amname = 'brin'
 CROSS JOIN LATERAL (
       SELECT coalesce((SELECT option_value::int FROM pg_options_to_table(brin.reloptions)
                         WHERE option_name = 'pages_per_range'), 128)
       ) AS pages (per_range)
 WHERE inhparent = 'http_request_rows'::regclass
   AND indisvalid
   AND indrelid = coalesce(to_regclass(%(partition)s), indrelid)
   AND (%(parent)s::text IS NULL
        OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid AND inhparent = to_regclass(%(parent)s)))
"""
_SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, true)"
_SUMMARIZE = """
SELECT coalesce(sum(brin_summarize_range(%s::regclass, block)), 0)
  FROM generate_series(%s::bigint, %s::bigint, %s::bigint) AS block
"""
_SUMMARIZE_REST = "SELECT brin_summarize_new_values(%s::regclass)"
_DESUMMARIZE = "SELECT brin_desummarize_range(%s::regclass, %s)"


class _Index(NamedTuple):
    oid: int
    table_file: int  # its number; a table that is truncated or rewritten gets another one
    range_pages: int
    table_pages: int


class RangeSummaries:
    """Summarizes ranges of all partitions as they become full, and remembers how far it came.

    Several servers may do so at once: a range that has its summary is passed over.
    """

    def __init__(self, index: str | None = None) -> None:
        """Take all BRIN indexes of the table, or one by its name."""
        self._parent = index
        self._next_blocks: dict[int, tuple[int, int]] = {}  # by index: the table's file, and where to go on in it

    def summarize(self, connection: psycopg.Connection) -> int:
        """Summarize what became full, and return how many ranges. Raises psycopg.Error, e.g. when not the owner."""
        return sum(self._summarize(connection, index) for index in _indexes(connection, parent=self._parent))

    def _summarize(self, connection: psycopg.Connection, index: _Index) -> int:
        end = (index.table_pages - OPEN_PAGES) // index.range_pages * index.range_pages
        table_file, next_block = self._next_blocks.get(index.oid, (index.table_file, 0))
        summarized = 0
        for first in range(next_block if table_file == index.table_file else 0, end, CHUNK_RANGES * index.range_pages):
            after = min(end, first + CHUNK_RANGES * index.range_pages)
            try:
                with durable_transaction(connection):
                    connection.execute(_SET_LOCK_TIMEOUT, (LOCK_TIMEOUT,))
                    row = connection.execute(_SUMMARIZE, (index.oid, first, after - 1, index.range_pages)).fetchone()
            except (LockNotAvailable, UndefinedTable):
                break
            self._next_blocks[index.oid] = (index.table_file, after)
            summarized += row[0] if row else 0
        return summarized


def summarize_to_the_end(connection: psycopg.Connection, partition: str) -> None:
    """Summarize the ranges at the end of a partition in which hardly any rows will land. Raises psycopg.Error."""
    for index in _indexes(connection, partition=partition):
        connection.execute(_SUMMARIZE_REST, (index.oid,))


def leave_last_range_open(connection: psycopg.Connection, partition: str) -> None:
    """Remove the summaries that an index has of the range where the next rows land, as a new index always has one."""
    for index in _indexes(connection, partition=partition):
        last_block = max(0, index.table_pages - 1)
        connection.execute(_DESUMMARIZE, (index.oid, last_block // index.range_pages * index.range_pages))


def _indexes(
    connection: psycopg.Connection, *, partition: str | None = None, parent: str | None = None
) -> Iterator[_Index]:
    found = connection.execute(_INDEXES, {"partition": partition, "parent": parent})
    return map(_Index._make, found.fetchall())
