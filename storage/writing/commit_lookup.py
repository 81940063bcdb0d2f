"""Whether batches are stored although the answer to their COPY was lost.

First the transaction must be over, which `pg_xact_status` tells by its id; a backend that still works on it is ended.
Then the batch's first row is looked for: a batch is stored whole or not at all.

The status alone does not tell whether the batch is stored. After a crash Postgres gives ids that had not reached its
log to new transactions, so `committed` may be said of another one; it forgets old ones; and another cluster, after a
failover or from a backup, counts its own. There an id is at worst that of another transaction, whose end is waited for.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql

from storage.writing.row_encoding import EncodedBatch
from storage.writing.row_form import Value
from storage.writing.transaction_ids import local_id_of

_STATUS = "SELECT pg_xact_status(%s::text::xid8)"
_END_BACKEND = """
SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
 WHERE backend_xid = %s::text::xid8::xid AND application_name LIKE 'seestack-ingest%%'
"""
# Of one project, so that a distributed database asks one node.
_STORED = """
SELECT number - 1 FROM unnest(%s::timestamptz[], %s::uuid[]) WITH ORDINALITY AS batch (moment, row, number)
 WHERE EXISTS (SELECT FROM {table} WHERE project = %s AND "timestamp" = moment AND id = row)
"""
# Rows in the form of earlier versions, which name the project by its id. A view finds a row by constants only.
_IS_STORED_BY_ID = """
SELECT EXISTS (SELECT FROM {table} WHERE project_id = %s AND "timestamp" = %s AND id = %s)
"""


class UncertainBatch(NamedTuple):
    """A batch that the transaction of this id may have stored; 0 for one that is over."""

    batch: EncodedBatch
    transaction_id: int


async def find_stored(connection: psycopg.AsyncConnection, batches: Sequence[UncertainBatch]) -> list[int]:
    """Return the positions of those batches, all of one form, that are stored; their transactions are over then.

    Raises psycopg.Error: an OperationalError when a transaction does not end.
    """
    await end_transactions(connection, {uncertain.transaction_id for uncertain in batches})
    form = batches[0].batch.form
    rows = [form.first_row(uncertain.batch.data) for uncertain in batches]
    table = sql.Identifier(form.table)
    if "project" in rows[0]:
        by_project: dict[Value, list[int]] = {}
        for position, row in enumerate(rows):
            by_project.setdefault(row["project"], []).append(position)
        return [
            positions[found]
            for project, positions in by_project.items()
            for found in await _find_rows(connection, table, project, [rows[position] for position in positions])
        ]
    is_stored = sql.SQL(_IS_STORED_BY_ID).format(table=table)
    return [
        position
        for position, row in enumerate(rows)
        if await _is_true(connection, is_stored, [row[name] for name in ("project_id", "timestamp", "id")])
    ]


async def _find_rows(
    connection: psycopg.AsyncConnection, table: sql.Identifier, project: Value, rows: "Sequence[dict[str, Value]]"
) -> list[int]:
    values = ([row["timestamp"] for row in rows], [row["id"] for row in rows], project)
    found = await connection.execute(sql.SQL(_STORED).format(table=table), values)
    return [position for (position,) in await found.fetchall()]


async def _is_true(connection: psycopg.AsyncConnection, condition: sql.Composed, values: Sequence[Value]) -> bool:
    return await (await connection.execute(condition, values)).fetchone() == (True,)


async def end_transactions(connection: psycopg.AsyncConnection, transaction_ids: Iterable[int]) -> None:
    """Have transactions of this node end. Raises psycopg.Error: an OperationalError when one does not."""
    for transaction_id in map(local_id_of, transaction_ids):
        if await _is_in_progress(connection, transaction_id):
            await connection.execute(_END_BACKEND, (str(transaction_id),))
            if await _is_in_progress(connection, transaction_id):
                raise psycopg.OperationalError(f"transaction {transaction_id} does not end")


async def _is_in_progress(connection: psycopg.AsyncConnection, transaction_id: int) -> bool:
    try:
        row = await (await connection.execute(_STATUS, (str(transaction_id),))).fetchone()
    except psycopg.errors.InvalidParameterValue:
        return False  # "in the future": it ended in a crash, and its id is not given again yet
    return row == ("in progress",)
