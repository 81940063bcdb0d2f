"""How much is stored: rows and bytes, by partition and project."""

from collections import Counter
from datetime import date, datetime
from typing import NamedTuple

import psycopg
from psycopg import sql

_PARTITIONS = """
SELECT part.relname, pg_total_relation_size(part.oid),
       to_date((regexp_match(part.relname, '_([0-9]{8})$'))[1], 'YYYYMMDD')
  FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
 WHERE inhparent = 'http_request_rows'::regclass
 ORDER BY 3 NULLS LAST, 1
"""
_ROWS = 'SELECT project, count(*) FROM {} WHERE %s::timestamptz IS NULL OR "timestamp" < %s GROUP BY project'
_ROWS_OF_PROJECT = "SELECT count(*) FROM http_request_rows WHERE project = %s"


class Partition(NamedTuple):
    """A partition, its size in bytes with indexes, and its day, None when it holds rows of many days."""

    name: str
    size_bytes: int
    day: date | None


def list_partitions(connection: psycopg.Connection) -> list[Partition]:
    """Return all partitions, the oldest day first, those of many days last."""
    return list(map(Partition._make, connection.execute(_PARTITIONS).fetchall()))


def count_rows(connection: psycopg.Connection, table: str, before: datetime | None = None) -> Counter[int]:
    """Return the number of rows of a partition by the number of their project; with `before`, of those older."""
    statement = sql.SQL(_ROWS).format(sql.Identifier(table))
    return Counter(dict(connection.execute(statement, (before, before)).fetchall()))


def count_project(connection: psycopg.Connection, number: int) -> int:
    """Return the number of rows of the project of that number."""
    row = connection.execute(_ROWS_OF_PROJECT, (number,)).fetchone()
    return int(row[0]) if row else 0
