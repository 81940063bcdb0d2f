"""A pass: rows that are final and not in the rollups yet are summed up, and the mark moves on with that.

A transaction below `pg_snapshot_xmin` has ended, so its rows are all there and none will come. A pass takes the rows
of a range of transactions, and stores their sums and the new mark in one transaction: each row counts once, whatever
happens.
"""

import select
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from storage.rollups.aggregation import COLUMNS, HEADER_SIZE, Aggregator
from storage.rollups.groups import Group, Groups, GroupSums, Level, RowGroup, RowGroups, Span
from storage.rollups.merging import note_unmerged
from storage.rollups.state import EMPTYING, RollupState, empty_some, lock_state, read_state
from storage.rollups.tables import write_groups
from storage.rollups.variety import Variety

ROWS_WANTED: Final = 50_000  # of a pass
# A pass with more rows begins again with fewer transactions: its groups, up to one a row, are in memory.
MOST_ROWS: Final = 2 * ROWS_WANTED
FIRST_TRANSACTIONS: Final = 1_000

# Sums can be made again from rows, so nothing waits for the disk. The rows are found by their transactions' index.
BACKGROUND: Final = "SET LOCAL synchronous_commit = off; SET LOCAL jit = off; SET LOCAL enable_seqscan = off"
_ROWS = f"""
COPY (
    SELECT {COLUMNS} FROM http_request_rows
     WHERE transaction >= {{first}} AND transaction < {{end}} AND isfinite("timestamp")
) TO STDOUT (FORMAT BINARY)
"""
_HAS_ROWS = """
SELECT EXISTS (SELECT FROM http_request_rows WHERE transaction >= %s AND transaction < %s AND isfinite("timestamp"))
"""
_ADVANCE = "UPDATE rollup_state SET mark = %s"
_END_OF_ROWS = b"\xff\xff"


class Pass(NamedTuple):
    """What a pass did."""

    rows: int  # that it read
    groups: int  # that it wrote
    reached: int  # rows of transactions below are in the rollups
    is_behind: bool  # there are more rows to read


class _TooManyRowsError(Exception):
    """A pass has more than MOST_ROWS, and can be made of fewer transactions."""


class Roller:
    """Makes passes, of a number of rows that is kept near ROWS_WANTED."""

    def __init__(self, make_aggregator: Callable[[], Aggregator]) -> None:
        self.variety = Variety()
        self._make_aggregator = make_aggregator
        self._transactions = FIRST_TRANSACTIONS

    def roll(self, connection: psycopg.Connection) -> Pass | None:
        """Make one pass; None while another server makes one, or transactions count otherwise. Raises psycopg.Error."""
        try:
            with connection.transaction():
                connection.execute(BACKGROUND)
                # The lock below takes a number of a transaction, so that without this, passes would go on for ever.
                seen = read_state(connection)
                if not seen.is_of_this_cluster:
                    return None
                if seen.mark != EMPTYING and connection.execute(
                    _HAS_ROWS, (seen.mark, seen.final_below)
                ).fetchone() == (False,):
                    return Pass(0, 0, seen.final_below, is_behind=False)
                state = lock_state(connection)
                if state is None:
                    return None
                if state.mark == EMPTYING:
                    self.variety.forget_all()
                    empty_some(connection)
                    return Pass(0, 0, 0, is_behind=True)
                return self._roll(connection, state)
        except _TooManyRowsError:
            self.variety.forget_all()
            return Pass(0, 0, 0, is_behind=True)
        except BaseException:
            self.variety.forget_all()
            raise

    def _roll(self, connection: psycopg.Connection, state: RollupState) -> Pass:
        end = min(state.final_below, state.mark + self._transactions)
        if end <= state.mark:
            return Pass(0, 0, state.mark, is_behind=False)
        aggregator = self._make_aggregator()
        rows = 0
        with closing(_copy_rows(connection, state.mark, end)) as found:
            for row in found:
                aggregator.add(row)
                rows += 1
                if rows > MOST_ROWS and end > state.mark + 1:
                    self._transactions = max(1, (end - state.mark) // 4)
                    raise _TooManyRowsError
        stored = self._store(connection, aggregator.groups(), state) if rows else 0
        connection.execute(_ADVANCE, (end,))
        self._adapt(rows)
        return Pass(rows, stored, end, is_behind=end < state.final_below)

    def _store(self, connection: psycopg.Connection, groups: RowGroups, state: RollupState) -> int:
        self.variety.load(connection, groups)
        spans = _spread(groups, state, self.variety)
        for span, of_span in spans.items():
            write_groups(connection, span, of_span)
            note_unmerged(connection, span, of_span)
        self.variety.forget()
        return sum(map(len, spans.values()))

    def _adapt(self, rows: int) -> None:
        if rows < ROWS_WANTED // 2:
            self._transactions = min(2 * self._transactions, 2**40)
        elif rows > ROWS_WANTED:
            self._transactions = max(1, self._transactions * ROWS_WANTED // rows)


def _spread(groups: RowGroups, state: RollupState, variety: Variety) -> dict[Span, Groups]:
    """Return what is to be added to each table."""
    spans: dict[Span, Groups] = {span: {} for span in Span}
    for group, sums in groups.items():
        host, endpoint = variety.bounded(group, sums.requests)
        for span in _spans_of(group.minute_us, state):
            start_us = group.minute_us // span.length_us * span.length_us
            for stored in _stored_groups(group, start_us, host, endpoint):
                of_span = spans[span]
                total = of_span.get(stored)
                if total is None:
                    total = of_span[stored] = GroupSums()
                total.add(sums)
    return spans


def _spans_of(minute_us: int, state: RollupState) -> Iterator[Span]:
    if state.kept_from_us is not None and minute_us < state.kept_from_us:
        return
    if minute_us >= state.minutes_from_us:
        yield Span.MINUTE
    if minute_us < state.hours_until_us:
        yield Span.HOUR
    if minute_us < state.days_until_us:
        yield Span.DAY


def _stored_groups(group: RowGroup, start_us: int, host: str, endpoint: str) -> Iterator[Group]:
    shared = (start_us, group.is_inbound, group.status_class)
    yield Group(group.project, Level.PROJECT, *shared, None, None, None)
    yield Group(group.project, Level.HOST, *shared, group.method, host, None)
    yield Group(group.project, Level.ENDPOINT, *shared, group.method, host, endpoint)


def _copy_rows(connection: psycopg.Connection, first: int, end: int) -> Generator[bytes, None, None]:
    """Yield the rows of a range of transactions. The driver's own way takes 2 us a row."""
    statement = sql.SQL(_ROWS).format(first=sql.Literal(first), end=sql.Literal(end))
    pgconn = connection.pgconn
    readable = select.poll()
    readable.register(pgconn.socket, select.POLLIN)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        start = HEADER_SIZE
        while True:
            length, data = pgconn.get_copy_data(1)
            if length == 0:
                readable.poll()
                pgconn.consume_input()
                continue
            if length < 0:
                raise psycopg.OperationalError("the database ended the copy of rows")
            if length - start == len(_END_OF_ROWS):
                break
            yield data[start:] if start else data  # type: ignore[misc] # memoryviews, which aggregators take as well
            start = 0
        copy.read()
