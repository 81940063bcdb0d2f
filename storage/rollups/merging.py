"""Rows of one span are merged into one, minutes are summed up to hours and hours to days, and what is too old goes.

Each step is one bounded transaction. None changes a sum: answers are the same before and after.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import psycopg

from storage.rollups.groups import DAY_US, HOUR_US, MINUTE_US, Span, Stored
from storage.rollups.state import EMPTYING, EPOCH_S, lock_state, read_state
from storage.rollups.summing import Summing
from storage.rollups.tables import STORED, write_stored

KEPT_MINUTES_US: Final = 2 * DAY_US
# How long after its end a span is summed up; later rows are added to both then.
GRACE_US: Final = 10 * MINUTE_US
# Spans of a project in one step: their groups are in memory at once, and a day may have ten thousands of them.
MERGED_AT_ONCE: Final = {Span.MINUTE: 50, Span.HOUR: 10, Span.DAY: 1}
DELETED_AT_ONCE: Final = 20_000
# Rows mostly come within that time after their minute; further rows of old hours and days come seldom.
_DUE_AFTER: Final = {
    Span.MINUTE: timedelta(seconds=90),
    Span.HOUR: timedelta(minutes=2),
    Span.DAY: timedelta(minutes=2),
}

_TIME = f"to_timestamp({EPOCH_S}) + %s * interval '1 microsecond'"
_NOTE = f"""
INSERT INTO rollup_unmerged (project, span, start, due_at)
SELECT project, %s, start, greatest(start, now()) + %s
  FROM unnest(%s::integer[], %s::bigint[]) AS touched (project, start_us),
       LATERAL (SELECT to_timestamp({EPOCH_S}) + start_us * interval '1 microsecond') AS moment (start)
    ON CONFLICT DO NOTHING
"""
_TAKE_DUE = """
DELETE FROM rollup_unmerged
 WHERE (project, span, start) IN (
     SELECT project, span, start FROM rollup_unmerged WHERE span = %s AND due_at <= now() ORDER BY due_at LIMIT %s)
RETURNING project, start
"""
_TAKE_ROWS = f"""
DELETE FROM {{table}} AS stored USING unnest(%s::integer[], %s::timestamptz[]) AS due (of_project, due_start)
 WHERE project = of_project AND level IN (0, 1, 2) AND start = due_start
RETURNING {STORED}
"""
_READ = f"SELECT {STORED} FROM {{table}} WHERE start >= {_TIME} AND start < {_TIME}"
_ADVANCE_HOURS = f"UPDATE rollup_state SET hours_until = {_TIME}"
_ADVANCE_DAYS = f"UPDATE rollup_state SET days_until = {_TIME}"
_ADVANCE_MINUTES = f"UPDATE rollup_state SET minutes_from = {_TIME}"
_ADVANCE_KEPT = f"UPDATE rollup_state SET kept_from = {_TIME}"
_DELETE_BEFORE = f"""
DELETE FROM {{table}} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {{table}} WHERE start < {_TIME} LIMIT {DELETED_AT_ONCE}))
"""


def note_unmerged(connection: psycopg.Connection, rows: Iterable[Stored]) -> None:
    """Note that these spans got further rows. Raises psycopg.Error."""
    touched: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    for row in rows:
        touched[row.span].add((row.project, row.start_us))
    for span, places in touched.items():
        projects, starts = zip(*places, strict=True)
        connection.execute(_NOTE.encode(), (span, _DUE_AFTER[Span(span)], list(projects), list(starts)))


def merge_due(connection: psycopg.Connection, summing: Summing) -> int:
    """Merge some groups that are due, and return of how many spans of a project they were. Raises psycopg.Error."""
    merged = 0
    for span in Span:
        with connection.transaction():
            state = lock_state(connection)
            if state is None or state.mark == EMPTYING:
                return merged
            due = connection.execute(_TAKE_DUE, (span, MERGED_AT_ONCE[span])).fetchall()
            if due:
                projects, starts = zip(*due, strict=True)
                _merge(connection, summing, span, list(projects), list(starts))
                merged += len(due)
    return merged


def sum_up(connection: psycopg.Connection, summing: Summing) -> bool:
    """Make the next hour from minutes or the next day from hours; tell whether one was due. Raises psycopg.Error."""
    with connection.transaction():
        state = lock_state(connection)
        if state is None or state.mark == EMPTYING:
            return False
        if state.hours_until_us + HOUR_US + GRACE_US <= state.now_us:
            _sum_up(connection, summing, Span.MINUTE, Span.HOUR, state.hours_until_us)
            connection.execute(_ADVANCE_HOURS.encode(), (state.hours_until_us + HOUR_US,))
            return True
        if state.days_until_us + DAY_US <= state.hours_until_us:
            _sum_up(connection, summing, Span.HOUR, Span.DAY, state.days_until_us)
            connection.execute(_ADVANCE_DAYS.encode(), (state.days_until_us + DAY_US,))
            return True
    return False


def advance_limits(connection: psycopg.Connection, kept_days: int | None) -> bool:
    """Say in the state that minutes, and hours and days before `kept_days` (None: no limit), are not there any more.

    Tell whether there is anything new to delete. Raises psycopg.Error.
    """
    with connection.transaction():
        state = lock_state(connection)
        if state is None or state.mark == EMPTYING:
            return False
        minutes_from_us = min((state.now_us - KEPT_MINUTES_US) // HOUR_US * HOUR_US, state.hours_until_us)
        has_old_minutes = minutes_from_us > state.minutes_from_us
        if has_old_minutes:
            connection.execute(_ADVANCE_MINUTES.encode(), (minutes_from_us,))
        has_old_days = False
        if kept_days is not None:
            kept_from_us = (state.now_us // DAY_US - kept_days) * DAY_US
            has_old_days = state.kept_from_us is None or kept_from_us > state.kept_from_us
            if has_old_days:
                connection.execute(_ADVANCE_KEPT.encode(), (kept_from_us,))
    return has_old_minutes or has_old_days


def delete_old(connection: psycopg.Connection) -> int:
    """Delete some of the rows that the state says are not there, and return how many. Raises psycopg.Error."""
    state = read_state(connection)
    limits = ((Span.MINUTE, state.minutes_from_us), (Span.HOUR, state.kept_from_us), (Span.DAY, state.kept_from_us))
    return sum(
        connection.execute(_DELETE_BEFORE.format(table=span.table).encode(), (limit_us,)).rowcount
        for span, limit_us in limits
        if limit_us is not None
    )


def _merge(
    connection: psycopg.Connection, summing: Summing, span: Span, projects: list[int], starts: list[datetime]
) -> None:
    parts: defaultdict[tuple[int, int, int], list[bytes]] = defaultdict(list)
    with connection.cursor(binary=True) as cursor:
        for *place, data in cursor.execute(_TAKE_ROWS.format(table=span.table).encode(), (projects, starts)):
            parts[tuple(place)].append(data)
    _write_sums(connection, summing, span, parts)


def _sum_up(connection: psycopg.Connection, summing: Summing, source: Span, target: Span, start_us: int) -> None:
    parts: defaultdict[tuple[int, int, int], list[bytes]] = defaultdict(list)
    with connection.cursor(binary=True) as cursor:
        query = _READ.format(table=source.table).encode()
        for project, level, _, data in cursor.execute(query, (start_us, start_us + target.length_us)):
            parts[project, level, start_us].append(data)
    _write_sums(connection, summing, target, parts)


def _write_sums(
    connection: psycopg.Connection, summing: Summing, span: Span, parts: Mapping[tuple[int, int, int], list[bytes]]
) -> None:
    write_stored(
        connection,
        [Stored(span, *place, groups) for place, stored in parts.items() for groups in summing.merge(stored)],
    )
