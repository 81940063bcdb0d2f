"""Rows by their arrival: what has become visible since an earlier look, each row once.

A look is a snapshot of Postgres. It says which transactions had not ended; the rows of these, and of those that began
later, are new once they are visible. So a row is neither missed nor found twice, however long transactions last, and
one that lasts holds nothing back.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from storage.reading.filters import Filter, conditions_of, numbered, values_of
from storage.reading.rows import COLUMNS, Row, to_rows
from storage.reading.transaction import Transaction

# For filters whose rows may be of any time.
EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)

# The index by transaction finds few rows, and nobody is to wait for what a tail reads. What arrived stays in memory.
_PLAN = b"""
SET LOCAL enable_seqscan = off; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL work_mem = '32MB'
"""
# Rows that are moved out of the table of earlier versions come in new transactions, but are older than this schema.
_LOOK = """
SELECT first_transaction + pg_snapshot_xmax(seen)::text::bigint AS next_transaction,
       ARRAY(SELECT first_transaction + pg_snapshot_xip(seen)::text::bigint) AS unfinished,
       CASE WHEN to_regclass('http_requests_before') IS NULL THEN '00000000-0000-0000-0000-000000000000'
            ELSE (SELECT lpad(to_hex((extract(epoch FROM applied_at) * 1000)::bigint), 12, '0') || repeat('0', 20)
                    FROM schema_migrations WHERE version = 7) END::uuid AS least_id
  FROM rollup_state, pg_current_snapshot() AS seen
"""
# Read once for all filters. An expression of the project is none of an index: that would read all rows of the project.
_ARRIVED = """
WITH arrived AS MATERIALIZED (
    SELECT * FROM http_request_rows
     WHERE (transaction >= %(next_transaction)s::bigint OR transaction = ANY(%(unfinished)s::bigint[]))
       AND id >= %(least_id)s AND project + 0 = ANY(%(projects)s::integer[])
)
"""
# Counted apart: a window over all rows would keep them once more.
_OF_FILTER = f"""
(SELECT {{number}} AS filter, (SELECT count(*) FROM arrived WHERE {{conditions}}) AS found, {COLUMNS} FROM arrived
  WHERE {{conditions}} ORDER BY transaction DESC, id DESC LIMIT %(most_{{number}})s)
"""


class Look(NamedTuple):
    """What had arrived when it was looked: all of transactions below `next_transaction` but of the unfinished ones."""

    next_transaction: int
    unfinished: list[int]
    least_id: UUID  # rows with ids below are not new, in whichever transaction they come


class Arrival(NamedTuple):
    """Rows that a filter selects, in the order of their storing: the last ones of `found`."""

    rows: list[Row]
    found: int


async def look(transaction: Transaction) -> Look:
    """Return what has arrived, as the transaction sees it."""
    (row,) = await transaction.rows(_LOOK, {})
    return Look(**row)


async def arrived_since(transaction: Transaction, before: Look, wanted: Sequence[tuple[Filter, int]]) -> list[Arrival]:
    """Return what the transaction sees and `before` did not, by filter, at most so many rows as stand by it."""
    await transaction.connection.execute(_PLAN)
    values: dict[str, Any] = {**before._asdict(), "projects": list({rows.project for rows, _ in wanted})}
    selections = []
    for number, (rows, most) in enumerate(wanted):
        # Each filter has parameters of its own.
        conditions = numbered(conditions_of(rows), number)
        values |= {f"{name}_{number}": value for name, value in values_of(rows).items()}
        values[f"most_{number}"] = most
        selections.append(_OF_FILTER.format(number=number, conditions=conditions))
    found: list[list[dict[str, Any]]] = [[] for _ in wanted]
    for row in await transaction.rows(_ARRIVED + " UNION ALL ".join(selections), values):
        found[row.pop("filter")].append(row)
    return [_to_arrival(of_filter) for of_filter in found]


def _to_arrival(newest_first: list[dict[str, Any]]) -> Arrival:
    found = [row.pop("found") for row in newest_first]
    return Arrival(to_rows(newest_first[::-1]), found[0] if found else 0)
