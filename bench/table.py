"""The table of rows, in the schema of whichever server is measured: emptied, counted, weighed."""

import psycopg
from psycopg import sql

# What everybody reads: a table in earlier schemas, a view in later ones.
_COUNT = "SELECT count(*) FROM http_requests"
_NAME = "SELECT coalesce(to_regclass('http_request_rows'), 'http_requests'::regclass)::text"
_BYTES = """
SELECT sum(pg_table_size(relid))::float8, sum(pg_indexes_size(relid))::float8
  FROM pg_partition_tree(%s::regclass) WHERE isleaf
"""
# A new BRIN index has a summary of its first range, and rows that land there cost as much as a hundred each. A server
# removes it when it makes a partition, and never truncates one.
_LEAVE_OPEN = """
SELECT brin_desummarize_range(brin.oid, 0)
  FROM pg_partition_tree(%s::regclass)
  JOIN pg_index ON indrelid = relid
  JOIN pg_class AS brin ON brin.oid = indexrelid
  JOIN pg_am ON pg_am.oid = brin.relam AND amname = 'brin'
 WHERE isleaf
"""


def table_name(database: psycopg.Connection) -> str:
    """Return the name of the table that has the rows."""
    row = database.execute(_NAME).fetchone()
    assert row is not None
    return str(row[0])


def empty_table(database: psycopg.Connection) -> None:
    """Start a run from the same state as any other."""
    name = table_name(database)
    database.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(name)))
    database.execute(_LEAVE_OPEN, (name,))
    database.execute("CHECKPOINT")


def count_rows(database: psycopg.Connection) -> int:
    """Return the number of rows stored."""
    row = database.execute(_COUNT).fetchone()
    return int(row[0]) if row else 0


def bytes_per_row(database: psycopg.Connection) -> tuple[float, float]:
    """Return the bytes a row of the table and of its indexes. There must be rows."""
    row = database.execute(_BYTES, (table_name(database),)).fetchone()
    assert row is not None
    rows = count_rows(database)
    return row[0] / rows, row[1] / rows
