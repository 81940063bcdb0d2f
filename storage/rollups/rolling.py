"""A pass: rows that are final and not in the rollups yet are summed up, and the mark moves on with that.

A transaction below `pg_snapshot_xmin` has ended, so its rows are all there and none will come. A pass takes the rows
of a range of transactions, and stores their sums and the new mark in one transaction: each row counts once, whatever
happens. Rows that were handed over are summed up as they were sent, all others as Postgres copies them out.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Final, NamedTuple

import psycopg

from storage.endpoints import OTHER
from storage.rollups.aggregation import Aggregator
from storage.rollups.handed_rows import HandedRows, Handover
from storage.rollups.merging import note_unmerged
from storage.rollups.names import Name, Names
from storage.rollups.new_rows import add_rows, count_rows, has_rows
from storage.rollups.state import EMPTYING, RollupState, empty_some, lock_state, read_state
from storage.rollups.summing import Summing
from storage.rollups.tables import write_stored
from storage.rollups.variety import Variety

ROWS_WANTED: Final = 50_000  # of a pass
# A pass with more rows begins again with fewer transactions: its groups, up to one a row, are in memory.
MOST_ROWS: Final = 2 * ROWS_WANTED
FIRST_TRANSACTIONS: Final = 1_000
HANDED_AT_ONCE: Final = 2_000  # rows, between rests; Postgres does nothing meanwhile
MOST_LISTED: Final = 200  # transactions, of others than this server's processes, that a query names

# Sums can be made again from rows, so nothing waits for the disk. The rows are found by their transactions' index, and
# counted without being sorted before.
BACKGROUND: Final = """
SET LOCAL synchronous_commit = off;
SET LOCAL jit = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_sort = off
"""
_ADVANCE = "UPDATE rollup_state SET mark = %s"


class Pass(NamedTuple):
    """What a pass did."""

    rows: int  # that it read
    stored: int  # rows of rollups that it wrote
    reached: int  # rows of transactions below are in the rollups
    is_behind: bool  # there are more rows to read


class _TooManyRowsError(Exception):
    """A pass has more than MOST_ROWS, and can be made of fewer transactions."""


class Roller:
    """Makes passes, of a number of rows that is kept near ROWS_WANTED."""

    def __init__(
        self,
        summing: Summing,
        rest: Callable[[float], None] = time.sleep,
        handover: Handover | None = None,
        shard: int = 0,
    ) -> None:
        """`rest` is called after every portion of rows with how many seconds these took.

        `handover` has rows that this server's processes have stored in the shard.
        """
        self.other_rows = 0  # that were counted as {other}
        self.handed_rows = 0  # that were summed up as they were sent
        self._rest = rest
        self._names = Names()
        self._variety = Variety()
        self._summing = summing
        self._handover = handover or Handover()
        self._shard = shard
        self._transactions = FIRST_TRANSACTIONS
        self._backend = 0  # the process of Postgres that the last pass was made by

    def roll(self, connection: psycopg.Connection, transaction_base: int = 0) -> Pass | None:
        """Make one pass; None while another server makes one, or transactions count otherwise. Raises psycopg.Error.

        `transaction_base` is what ids of transactions of this node begin with (`storage.writing.transaction_ids`).
        """
        if connection.info.backend_pid != self._backend:
            # It may be another cluster now, whose transactions have stored other rows.
            self._handover.forget(self._shard)
            self._forget_all()
            self._backend = connection.info.backend_pid
        try:
            with connection.transaction():
                connection.execute(BACKGROUND)
                # The lock below takes a number of a transaction, so that without this, passes would go on for ever.
                seen = read_state(connection)
                if not seen.is_of_this_cluster:
                    return None
                base = transaction_base - seen.first_transaction
                done = self._roll_if_any(connection, seen, base)
        except _TooManyRowsError:
            self._forget_all()
            return Pass(0, 0, 0, is_behind=True)
        except BaseException:
            self._forget_all()
            raise
        self._handover.forget(self._shard, below=base + (done.reached if done is not None else seen.mark))
        return done

    def _roll_if_any(self, connection: psycopg.Connection, seen: RollupState, base: int) -> Pass | None:
        is_empty = seen.mark != EMPTYING and not (
            self._handed(seen.mark, seen.final_below, base) or has_rows(connection, seen.mark, seen.final_below)
        )
        if is_empty:
            return Pass(0, 0, seen.final_below, is_behind=False)
        state = lock_state(connection)
        if state is None:
            return None
        if state.mark == EMPTYING:
            self._forget_all()
            empty_some(connection)
            return Pass(0, 0, 0, is_behind=True)
        return self._roll(connection, state, base)

    def _forget_all(self) -> None:
        """Forget what is in no table if a transaction was rolled back, or lost in a crash of Postgres."""
        self._names.forget_all()
        self._variety.forget_all()

    def _roll(self, connection: psycopg.Connection, state: RollupState, base: int) -> Pass:
        end = min(state.final_below, state.mark + self._transactions)
        if end <= state.mark:
            return Pass(0, 0, state.mark, is_behind=False)
        aggregator = self._summing.make_aggregator()
        rows = 0
        with closing(self._add_new(connection, state.mark, end, base, aggregator)) as portions:
            for more in _with_rests(portions, self._rest):
                rows += more
                if rows > MOST_ROWS and end > state.mark + 1:
                    self._transactions = max(1, (end - state.mark) // 4)
                    raise _TooManyRowsError
        stored = self._store(connection, aggregator, state) if rows else 0
        connection.execute(_ADVANCE, (end,))
        self._adapt(rows)
        return Pass(rows, stored, end, is_behind=end < state.final_below)

    def _add_new(
        self, connection: psycopg.Connection, first: int, end: int, base: int, to: Aggregator
    ) -> Generator[int, None, None]:
        """Add the rows of transactions from `first` on and before `end`, and yield after some how many it were.

        Those that are handed over are added if the table has as many of their transaction.
        """
        if not self._handed(first, end, base):
            yield from add_rows(connection, first, end, to)
            return
        counts = count_rows(connection, first, end)
        yield 0
        # Some have come only now.
        handed = self._handed(first, end, base)
        whole = {number - base: data for number, (rows, data) in handed.items() if counts.get(number - base) == rows}
        others = list(counts.keys() - whole.keys())
        if len(others) > MOST_LISTED:
            yield from add_rows(connection, first, end, to)
            return
        yield from self._add_handed(whole.values(), to)
        if others:
            yield from add_rows(connection, first, end, to, others)

    def _add_handed(self, flushes: Iterable[bytes], to: Aggregator) -> Iterator[int]:
        seen = 0
        for data in flushes:
            at = 0
            while at < len(data):
                added, at = to.add_written(data, at, HANDED_AT_ONCE - seen)
                seen += added
                if seen == HANDED_AT_ONCE:
                    self.handed_rows += seen
                    yield seen
                    seen = 0
        self.handed_rows += seen
        yield seen

    def _handed(self, first: int, end: int, base: int) -> Mapping[int, HandedRows]:
        return self._handover.between(self._shard, base + first, base + end)

    def _store(self, connection: psycopg.Connection, aggregator: Aggregator, state: RollupState) -> int:
        found = aggregator.names()
        self._variety.load(connection, found)
        names = [self._variety.bounded(name) for name in found]
        self._variety.forget()
        hosts = [Name(project, method, host, None) for project, method, host, _ in names]
        numbers = self._names.numbers(connection, [*hosts, *names])
        rows = aggregator.stored([numbers[name] for name in hosts], [numbers[name] for name in names], state.times)
        write_stored(connection, rows)
        note_unmerged(connection, rows)
        counted = zip(found.items(), names, strict=True)
        self.other_rows += sum(rows for (own, rows), name in counted if name.endpoint == OTHER != own.endpoint)
        return len(rows)

    def _adapt(self, rows: int) -> None:
        if rows < ROWS_WANTED // 2:
            self._transactions = min(2 * self._transactions, 2**40)
        elif rows > ROWS_WANTED:
            self._transactions = max(1, self._transactions * ROWS_WANTED // rows)


def _with_rests(portions: Iterator[int], rest: Callable[[float], None]) -> Iterator[int]:
    """Rest after each portion of rows: batches that come meanwhile need the processors sooner.

    Postgres rests, too, as what it sends is not taken.
    """
    began_at = time.monotonic()
    for rows in portions:
        yield rows
        rest(time.monotonic() - began_at)
        began_at = time.monotonic()
