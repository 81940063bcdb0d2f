"""Where an answer comes from: the one place that decides it.

Rollups have the sums over all rows of transactions below a mark. A range is read from them as far as it has whole days,
hours and minutes, together with the rows of those times from the mark on; the rest of the range is read from the rows.
State, rollups and rows are read in one snapshot, so the sums are exact and of this moment. A filter that rollups do not
know is answered from the rows alone.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

from storage.reading.filters import Filter
from storage.reading.parts import GroupBy, Part, parts_from_rows
from storage.reading.reader import Transaction
from storage.reading.rollup_parts import are_named, can_tell, microseconds_of, moment_of, parts_from_rollups
from storage.reading.rollup_plan import Piece, Plan, make_plan
from storage.rollups.state import STATE, RollupState

_SECOND_US = 1_000_000


async def read_parts(
    transaction: Transaction, rows: Filter, group_by: GroupBy, *, slow_ms: int, step_s: int = 1
) -> AsyncIterator[Part]:
    """Yield sums over rows by group; those of a group, added up, are exact."""
    mark, plan = await _plan(transaction, rows, group_by, slow_ms, step_s)
    for piece in plan.from_rollups:
        async for part in parts_from_rollups(transaction, rows, group_by, piece, step_s):
            yield part
    # Before the mark they are in the rollups.
    newer = [(piece, mark) for piece in _joined(plan.from_rollups)]
    for piece, from_transaction in (*newer, *((piece, None) for piece in plan.from_rows)):
        within = replace(rows, start=moment_of(piece.start_us), end=moment_of(piece.end_us))
        async for part in parts_from_rows(
            transaction, within, group_by, slow_ms=slow_ms, step_s=step_s, from_transaction=from_transaction
        ):
            yield part


async def _plan(
    transaction: Transaction, rows: Filter, group_by: GroupBy, slow_ms: int, step_s: int
) -> tuple[int, Plan]:
    start_us, end_us = microseconds_of(rows.start), microseconds_of(rows.end)
    if can_tell(rows, slow_ms):
        [values] = [found async for found in transaction.sums(STATE, {})]
        state = RollupState(*values)
        plan = make_plan(state, start_us, end_us, step_s * _SECOND_US if group_by is GroupBy.STEP else None)
        if await are_named(transaction, rows, group_by, plan.from_rollups):
            return state.mark, plan
    return 0, Plan([], [Piece(None, start_us, end_us)])


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Return the ranges that pieces make together."""
    joined: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.start_us):
        if joined and joined[-1].end_us == piece.start_us:
            joined[-1] = joined[-1]._replace(end_us=piece.end_us)
        else:
            joined.append(piece)
    return joined
