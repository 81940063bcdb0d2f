"""Which part of a range of time is read from which table: whole days, then hours, then minutes; the rest from rows.

In the middle of a range, rollups lack the rows of transactions from the mark on, which are read from the rows, too.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from storage.rollups.groups import Span
from storage.rollups.state import RollupState

_FOR_EVER: Final = 2**63


class Piece(NamedTuple):
    """A range of time, in microseconds since 2000-01-01, and the table that it is read from; None: the rows."""

    span: Span | None
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Plan:
    """From where a range is read: its pieces, in no order."""

    from_rollups: list[Piece]
    from_rows: list[Piece]


def make_plan(state: RollupState, start_us: int, end_us: int, step_us: int | None) -> Plan:
    """Return from where a range is read, in steps that begin at multiples of `step_us` if given."""
    if not state.is_readable or start_us >= end_us:
        return Plan([], [Piece(None, start_us, end_us)])
    spans = [span for span in reversed(Span) if step_us is None or step_us % span.length_us == 0]
    pieces = _cut(state, start_us, end_us, spans)
    return Plan(
        [piece for piece in pieces if piece.span is not None], [piece for piece in pieces if piece.span is None]
    )


def _cut(state: RollupState, start_us: int, end_us: int, spans: list[Span]) -> list[Piece]:
    if start_us >= end_us:
        return []
    if not spans:
        return [Piece(None, start_us, end_us)]
    span, *shorter = spans
    earliest_us, latest_us = _times_in(span, state)
    first_us = -(-max(start_us, earliest_us) // span.length_us) * span.length_us
    last_us = min(end_us, latest_us) // span.length_us * span.length_us
    if first_us >= last_us:
        return _cut(state, start_us, end_us, shorter)
    return [
        *_cut(state, start_us, first_us, shorter),
        Piece(span, first_us, last_us),
        *_cut(state, last_us, end_us, shorter),
    ]


def _times_in(span: Span, state: RollupState) -> tuple[int, int]:
    """Return from when on and until when a table has all rows."""
    kept_from_us = -_FOR_EVER if state.kept_from_us is None else state.kept_from_us
    if span is Span.DAY:
        return kept_from_us, state.days_until_us
    if span is Span.HOUR:
        return kept_from_us, state.hours_until_us
    return max(kept_from_us, state.minutes_from_us), _FOR_EVER
