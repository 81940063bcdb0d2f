"""How much is stored: rows and bytes, by partition and project."""

from collections import Counter
from datetime import date, datetime
from typing import NamedTuple

import psycopg
from psycopg import sql

_PARTITIONS = """
SELECT part.relname, pg_total_relation_size(part.oid),
       to_date((regexp_match(part.relname, '^http_request_rows_([0-9]{8})'))[1], 'YYYYMMDD')
  FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
 WHERE inhparent = 'http_request_rows'::regclass
 ORDER BY 3 NULLS LAST, 1
"""
_ROWS = 'SELECT project, count(*) FROM {} WHERE %s::timestamptz IS NULL OR "timestamp" < %s GROUP BY project'
_ROWS_OF_PROJECT = "SELECT count(*) FROM http_request_rows WHERE project = %s"


_DATABASE = """
SELECT current_setting('server_version'), pg_database_size(current_database()),
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())
"""


class Database(NamedTuple):
    """What a database says of itself: its server's version, its bytes on disk, and all connections to it."""

    version: str
    size_bytes: int
    connections: int


class Partition(NamedTuple):
    """A partition, its size in bytes with indexes, and its day, None when it holds rows of many days."""

    name: str
    size_bytes: int
    day: date | None


def describe_database(connection: psycopg.Connection) -> Database:
    """Return what the database says of itself."""
    row = connection.execute(_DATABASE).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM gives a row
    return Database(*row)


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
