"""Rows of a range of transactions, read as fast as Postgres copies them out."""

import select
from collections.abc import Generator, Sequence
from typing import Final

import psycopg
from psycopg import sql
from psycopg.pq.abc import PGconn

from storage.rollups.aggregation import COLUMNS, END_SIZE, HEADER_SIZE, IS_WIDE, NARROW_COLUMNS, Aggregator

ROWS_AT_ONCE: Final = 500

_ROWS = """
COPY (
    SELECT {columns} FROM http_request_rows
     WHERE transaction >= {{first}} AND transaction < {{end}} AND {{which}} AND isfinite("timestamp") AND {condition}
) TO STDOUT (FORMAT BINARY)
"""
_NARROW_ROWS = _ROWS.format(columns=NARROW_COLUMNS, condition="true")
_WIDE_ROWS = _ROWS.format(columns=COLUMNS, condition=IS_WIDE)
_HAS_ROWS = """
SELECT EXISTS (SELECT FROM http_request_rows WHERE transaction >= %s AND transaction < %s AND isfinite("timestamp"))
"""
_COUNT = """
SELECT transaction, count(*) FROM http_request_rows WHERE transaction >= %s AND transaction < %s GROUP BY transaction
"""
_ALL = sql.SQL("true")
# Not as an index knows it, which would be read once for each of them.
_SOME = sql.SQL("transaction + 0 = ANY({})")


def has_rows(connection: psycopg.Connection, first: int, end: int) -> bool:
    """Tell whether transactions from `first` on and before `end` have rows. Raises psycopg.Error."""
    return connection.execute(_HAS_ROWS, (first, end)).fetchone() == (True,)


def count_rows(connection: psycopg.Connection, first: int, end: int) -> dict[int, int]:
    """Return how many rows each transaction from `first` on and before `end` has. Raises psycopg.Error."""
    return dict(connection.execute(_COUNT, (first, end)).fetchall())


def add_rows(
    connection: psycopg.Connection, first: int, end: int, to: Aggregator, only: Sequence[int] | None = None
) -> Generator[int, None, None]:
    """Add the rows of transactions from `first` on and before `end`, and yield after some of them how many it were.

    With `only`, other transactions are left out. All must have ended. Raises psycopg.Error.
    """
    which = _ALL if only is None else _SOME.format(sql.Literal(list(only)))
    values = {"first": sql.Literal(first), "end": sql.Literal(end), "which": which}
    refused = yield from _copy(connection, sql.SQL(_NARROW_ROWS).format(**values), to)
    if refused:
        yield from _copy(connection, sql.SQL(_WIDE_ROWS).format(**values), to)


def _copy(connection: psycopg.Connection, statement: sql.Composed, to: Aggregator) -> Generator[int, None, int]:
    """Add the rows of a query and yield how many it were; return how many were refused.

    The driver's own way takes 2 us a row.
    """
    pgconn = connection.pgconn
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        size, message = pgconn.get_copy_data(1)
        while size == 0:
            _receive(pgconn)
            size, message = pgconn.get_copy_data(1)
        portion = to.add_all(lambda _: (size - HEADER_SIZE, message[HEADER_SIZE:]), 1)
        added, refused = portion.added, portion.refused
        seen = 1
        while portion.size != END_SIZE:
            if portion.size == 0:
                _receive(pgconn)
            elif portion.size < 0:
                raise psycopg.OperationalError("the database ended the copy of rows")
            portion = to.add_all(pgconn.get_copy_data, ROWS_AT_ONCE)
            added += portion.added
            refused += portion.refused
            seen += portion.added + portion.refused
            if seen >= ROWS_AT_ONCE:
                yield added
                added = seen = 0
        copy.read()
    yield added
    return refused


def _receive(pgconn: PGconn) -> None:
    readable = select.poll()
    readable.register(pgconn.socket, select.POLLIN)
    readable.poll()
    pgconn.consume_input()
