"""Where an answer comes from: the one place that decides it.

Rollups have the sums over all rows of transactions below a mark. A range is read from them as far as it has whole days,
hours and minutes, together with the rows of those times from the mark on; the rest of the range is read from the rows.
State, rollups and rows are read in one snapshot, so the sums are exact and of this moment. A filter that rollups do not
know is answered from the rows alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from storage.endpoints import OTHER, endpoint_of
from storage.reading.newer_rows import LONGEST_US, read_edges, read_newer
from storage.reading.numbering import Numbering
from storage.reading.parts import GroupBy, RowsOfTime, parts_from_rows
from storage.reading.question import Groups, Question
from storage.reading.rollup_parts import (
    StoredGroups,
    can_tell,
    kinds_of,
    level_of,
    microseconds_of,
    moment_of,
    read_stored,
)
from storage.reading.rollup_plan import Piece, Plan, make_plan
from storage.reading.row_sums import RowSums, numbers_in
from storage.reading.sums import Sums
from storage.reading.transaction import Transaction
from storage.rollups.groups import Level
from storage.rollups.state import EPOCH_S

# Groups of rows that are kept apart while they are added up; the rows of further ones become {other}.
MOST_GROUPS: Final = 20_000
_SECOND_US: Final = 1_000_000


class _Rows(NamedTuple):
    """What was read from rows: sums in the form of rollups, and groups that Postgres has made."""

    newer: Sequence[RowSums]
    edges: RowSums
    groups: Groups


async def read_groups(transaction: Transaction, question: Question) -> Groups:
    """Return sums over rows by group; they are exact. Raises BehindError."""
    groups = await read_known_groups(transaction, question)
    if groups is not None:
        return groups
    question = question._replace(rows=transaction.seen(question.rows))
    whole = Piece(None, microseconds_of(question.rows.start), microseconds_of(question.rows.end))
    return await _add_up(transaction, question, [(whole, None)])


async def read_known_groups(transaction: Transaction, question: Question) -> Groups | None:
    """Return the same, None when rollups do not tell, and all rows of the range would have to be read."""
    question = question._replace(rows=transaction.seen(question.rows))
    plan = _plan(transaction, question)
    if not plan.from_rollups:
        return None
    return await _with_rollups(transaction, question, plan.from_rollups, await _read_rows(transaction, question, plan))


def _plan(transaction: Transaction, question: Question) -> Plan:
    if not can_tell(question.rows, question.slow_ms):
        return Plan([], [])
    start_us, end_us = microseconds_of(question.rows.start), microseconds_of(question.rows.end)
    step_us = question.step_s * _SECOND_US if question.group_by is GroupBy.STEP else None
    return make_plan(transaction.state, start_us, end_us, step_us)


async def _read_rows(transaction: Transaction, question: Question, plan: Plan) -> _Rows:
    """Return sums over the rows that rollups lack."""
    newer = await read_newer(transaction, question.rows.project)
    # Where there are as many groups as rows, copying rows costs less than having Postgres make the groups.
    is_copied = question.group_by is GroupBy.PATH
    edges = [piece for piece in plan.from_rows if is_copied and piece.end_us - piece.start_us <= LONGEST_US]
    pieces: list[tuple[Piece, int | None]] = [(piece, None) for piece in plan.from_rows if piece not in edges]
    if newer is None:
        pieces += [(piece, transaction.state.mark) for piece in _joined(plan.from_rollups)]
    return _Rows(
        newer or [],
        await read_edges(transaction, question.rows, edges),
        await _add_up(transaction, question, pieces),
    )


async def _add_up(transaction: Transaction, question: Question, pieces: Sequence[tuple[Piece, int | None]]) -> Groups:
    """Return the sums over the rows of pieces, from a transaction on if given."""
    groups: Groups = {}
    if not pieces:
        return groups
    parts = [
        RowsOfTime(
            replace(question.rows, start=moment_of(piece.start_us), end=moment_of(piece.end_us)), from_transaction
        )
        for piece, from_transaction in pieces
    ]
    async for values, part in parts_from_rows(
        transaction, parts, question.group_by, slow_ms=question.slow_ms, step_s=question.step_s
    ):
        group = (*values[:2], endpoint_of(values[2])) if question.group_by is GroupBy.PATH else values
        if group not in groups and len(groups) >= MOST_GROUPS:
            group = (OTHER,) * len(group)
        groups.setdefault(group, Sums()).add(part)
    return groups


async def _with_rollups(
    transaction: Transaction, question: Question, pieces: Sequence[Piece], of_rows: _Rows
) -> Groups | None:
    """Return the sums over rows and rollups; None when what is asked for may be among the {other} of the rollups."""
    rows, group_by = question.rows, question.group_by
    stored = await read_stored(
        transaction, rows, group_by, pieces, step_s=question.step_s, first_step=question.first_step
    )
    numbering = await Numbering.make(transaction, question, stored, _numbers_of(transaction, question, of_rows))
    if numbering.others:
        others = transaction.adding.make_totals(kinds_of(rows))
        for _, data in stored:
            others.add(data, None, dict.fromkeys(numbering.others, 0))
        if others.all():
            return None
    totals = transaction.adding.make_totals(kinds_of(rows))
    parts: list[tuple[int | None, bytes, Mapping[int, int] | None]] = [
        *((step, data, numbering.of_rollups) for step, data in stored),
        *((step, data, numbering.of_rows) for step, data in _groups_of_rows(question, pieces, of_rows)),
    ]
    for step, data, groups_of in parts:
        totals.add(data, step, groups_of)
    for group, sums in of_rows.groups.items():
        totals.add_figures(numbering.number_of(group), *sums.figures)
    wanted = totals.all() if question.sort is None else totals.first(question.sort, question.limit)
    if question.with_buckets:
        totals.count_buckets(wanted)
        for step, data, groups_of in parts:
            totals.add_buckets(data, step, groups_of)
    groups = await numbering.named(transaction, {number: totals.sums(number) for number in wanted})
    for group, sums in of_rows.groups.items():
        if group in groups:
            groups[group].add(Sums(buckets=sums.buckets))
    return groups


def _numbers_of(transaction: Transaction, question: Question, of_rows: _Rows) -> set[int]:
    """Return the numbers of all names of rows in this process."""
    level = level_of(question.rows, question.group_by)
    if level is Level.PROJECT:
        return set()
    numbers = numbers_in((*of_rows.newer, of_rows.edges), level)
    if question.group_by is GroupBy.PATH:
        names = transaction.memory_of(question.rows.project).names
        numbers |= {names.number_of((method, host, endpoint)) for method, host, endpoint in of_rows.groups}
    return numbers


def _groups_of_rows(question: Question, pieces: Sequence[Piece], of_rows: _Rows) -> Iterator[StoredGroups]:
    """Yield the groups of the edges, and those of newer rows that are in the pieces that rollups have."""
    level = level_of(question.rows, question.group_by)
    joined = _joined(pieces)
    for sums in of_rows.newer:
        for start_us, data in sums.minutes[level]:
            if any(piece.start_us <= start_us < piece.end_us for piece in joined):
                yield _step_of(question, start_us), data
    for start_us, data in of_rows.edges.minutes[level]:
        yield _step_of(question, start_us), data


def _step_of(question: Question, start_us: int) -> int | None:
    if question.group_by is not GroupBy.STEP:
        return None
    return (start_us // _SECOND_US + EPOCH_S) // question.step_s - question.first_step


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the ranges that pieces make together."""
    joined: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.start_us):
        if joined and joined[-1].end_us == piece.start_us:
            joined[-1] = joined[-1]._replace(end_us=piece.end_us)
        else:
            joined.append(piece)
    return joined
