"""What is in the rollups: up to which transaction, and which spans of time each table has.

Rows are counted by the number of the transaction that stored them. In another cluster, where a backup was restored,
transactions count from the start again; rows then add to them, so that their numbers go on.
"""

from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from storage.database import durable_transaction
from storage.rollups.groups import Times

EPOCH_S: Final = 946_684_800  # 2000-01-01, from which Postgres counts, in Unix time
EMPTYING: Final = -1  # a mark: the tables are being emptied, and nobody may read them
TABLES: Final = ("rollup_minutes", "rollup_hours", "rollup_days", "rollup_unmerged")
DELETED_AT_ONCE: Final = 20_000
_US = f"((extract(epoch FROM {{}}) - {EPOCH_S}) * 1000000)::bigint"
# Numbers of transactions with their epoch, so that they never wrap around.
STATE = f"""
SELECT mark, first_transaction, cluster = system_identifier,
       first_transaction + pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
       first_transaction + pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
       {_US.format("minutes_from")}, {_US.format("kept_from")},
       {_US.format("hours_until")}, {_US.format("days_until")}, {_US.format("now()")}
  FROM rollup_state, pg_control_system()
"""
_LOCK = f"{STATE} FOR UPDATE OF rollup_state SKIP LOCKED"
_WAIT = "SELECT FROM rollup_state FOR UPDATE"
_EMPTY = f"UPDATE rollup_state SET mark = {EMPTYING}"
_DELETE_SOME = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} LIMIT %s))
"""
_BEGIN_AGAIN = "UPDATE rollup_state SET mark = 0"
# Rows below the mark have smaller numbers than those from it on; the index finds these.
_LAST = """
SET LOCAL enable_seqscan = off;
SELECT greatest((SELECT max(transaction) FROM http_request_rows WHERE transaction >= mark), mark - 1, 0)
  FROM rollup_state
"""
_GO_ON = """
ALTER TABLE http_request_rows ALTER COLUMN transaction SET DEFAULT txid_current() + {first};
UPDATE rollup_state SET first_transaction = {first}, cluster = (SELECT system_identifier FROM pg_control_system())
"""


@dataclass(frozen=True, slots=True)
class RollupState:
    """The state, and now; times in microseconds since 2000-01-01."""

    mark: int  # rows of transactions below are in the rollups; EMPTYING: they are being emptied
    first_transaction: int
    is_of_this_cluster: bool
    final_below: int  # rows of transactions below do not change any more
    next_transaction: int
    minutes_from_us: int
    kept_from_us: int | None  # hours and days are kept from here on; None: all are
    hours_until_us: int
    days_until_us: int
    now_us: int

    @property
    def times(self) -> Times:
        """Which times each table has."""
        return Times(self.kept_from_us, self.minutes_from_us, self.hours_until_us, self.days_until_us)

    @property
    def is_readable(self) -> bool:
        """Whether rollups and the rows from the mark on are all rows."""
        return self.is_of_this_cluster and self.mark > 0


def read_state(connection: psycopg.Connection) -> RollupState:
    """Return the state. Raises psycopg.Error."""
    row = connection.execute(STATE.encode()).fetchone()
    assert row is not None  # noqa: S101 - the migration has put it there
    return RollupState(*row)


def lock_state(connection: psycopg.Connection) -> RollupState | None:
    """Return the state, which nobody else changes until the transaction ends; None while another server does."""
    row = connection.execute(_LOCK.encode()).fetchone()
    return None if row is None else RollupState(*row)


def begin_again(connection: psycopg.Connection) -> None:
    """Have the rollups made from the rows again; meanwhile all is read from rows. Raises psycopg.Error."""
    with durable_transaction(connection):
        connection.execute(_WAIT)
        connection.execute(_EMPTY.encode())


def empty_some(connection: psycopg.Connection) -> None:
    """Delete some rows of tables that are being emptied; the transaction has the state locked. Raises psycopg.Error."""
    for table in TABLES:
        if connection.execute(_DELETE_SOME.format(table=table).encode(), (DELETED_AT_ONCE,)).rowcount:
            return
    connection.execute(_BEGIN_AGAIN)


def go_on_in_this_cluster(connection: psycopg.Connection) -> bool:
    """Have the transactions of a cluster that is new to the rows count on; tell whether it is new.

    Nothing may have stored rows in it yet. Raises psycopg.Error, InsufficientPrivilege unless the role owns the table.
    """
    if read_state(connection).is_of_this_cluster:
        return False
    count_on(connection)
    return True


def count_on(connection: psycopg.Connection) -> None:
    """Have transactions count on from those of the rows, as they are now. Raises as `go_on_in_this_cluster` does."""
    with durable_transaction(connection):
        connection.execute(_WAIT)
        cursor = connection.execute(_LAST)
        cursor.nextset()
        (last,) = cursor.fetchone() or (0,)
        connection.execute(sql.SQL(_GO_ON).format(first=sql.Literal(last + 1)))
