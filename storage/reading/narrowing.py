"""Where the rows of a list are: rollups tell which hours have any, and mostly how many, so that no others are read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from storage.reading.filters import ALWAYS, SLOW_MS, STATUS_GROUPS, Filter, conditions_of, values_of
from storage.reading.parts import GroupBy
from storage.reading.question import Question
from storage.reading.sources import read_known_groups
from storage.reading.transaction import Transaction

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_MOST_HOURS: Final = 24 * 40  # of a range; those of a longer one are too many to read
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# What rollups know, but for the endpoint, by which they would be large.
_KNOWN: Final = ("direction", "method", "status_group", "host")
_UNKNOWN: Final = ("status", "path", "endpoint", "user_id", "error_fingerprint", "min_duration_ms")


# Whether the day before the range has rows, and the oldest one in the range.
_OLDEST: Final = f"""
SELECT EXISTS (SELECT FROM readable_rows WHERE project = %(project)s AND "timestamp" >= %(start)s - interval '1 day'
                AND "timestamp" < %(start)s),
       (SELECT min("timestamp") FROM readable_rows WHERE {ALWAYS})
"""
_COUNT: Final = "SELECT count(*) FROM readable_rows WHERE {conditions}"


class Stretch(NamedTuple):
    """A stretch of time that has rows, and at most how many."""

    start: datetime
    end: datetime
    rows: int


class Narrowed(NamedTuple):
    """All stretches of time that may have rows of a list, the newest first."""

    stretches: list[Stretch]
    is_exact: bool  # whether they have as many as they say

    @property
    def total(self) -> int:
        """The number of rows, at most."""
        return sum(stretch.rows for stretch in self.stretches)

    def first(self, wanted: int, until: datetime | None = None) -> list[Stretch]:
        """Return the stretches that have so many rows, all up to `until`; where numbers are not exact, all of them.

        Those that follow each other are one.
        """
        chosen: list[Stretch] = []
        found = 0
        for start, end, rows in self.stretches:
            if until is not None and start > until:
                continue
            if self.is_exact and found >= wanted:
                break
            if until is None or end <= until:  # of another one, nobody knows how many come after `until`
                found += rows
            if chosen and chosen[-1].start == end:
                chosen[-1] = chosen[-1]._replace(start=start)
            else:
                chosen.append(Stretch(start, end, rows))
        return chosen


async def narrow(transaction: Transaction, rows: Filter) -> Narrowed | None:
    """Return where the rows of a filter are, None when that is not known or takes longer than looking at them."""
    status_group = rows.status_group if rows.status is None else _group_of(rows.status)
    known = Filter(
        rows.project, rows.start, rows.end,
        direction=rows.direction, method=rows.method, status_group=status_group, host=rows.host,
    )  # fmt: skip
    if all(getattr(known, name) is None for name in _KNOWN):
        return None
    step = _HOUR if rows.end - rows.start <= _MOST_HOURS * _HOUR else _DAY
    question = Question(known, GroupBy.STEP, SLOW_MS, step // timedelta(seconds=1), with_buckets=False)
    groups = await read_known_groups(transaction, question)
    if groups is None:
        return None
    stretches = [
        _stretch(rows, _EPOCH + number * step, step, sums.requests)
        for (number,), sums in sorted(groups.items(), reverse=True)
    ]
    stretches = await _without_deleted(transaction, known, stretches)
    is_exact = status_group == rows.status_group and all(getattr(rows, name) is None for name in _UNKNOWN)
    return Narrowed(stretches, is_exact)


def _stretch(rows: Filter, start: datetime, length: timedelta, requests: int) -> Stretch:
    # The end is not computed where it would be after the last year.
    end = rows.end if rows.end - start <= length else start + length
    return Stretch(max(rows.start, start), end, requests)


async def _without_deleted(transaction: Transaction, rows: Filter, stretches: list[Stretch]) -> list[Stretch]:
    """Leave out what rollups have and the rows have not any more: the oldest rows go first."""
    [(has_older, oldest)] = await transaction.binary_rows(_OLDEST, values_of(rows))
    if oldest is None:
        return []
    there = [stretch for stretch in stretches if stretch.end > oldest]
    if has_older or not there or there[-1].start >= oldest:
        return there
    first = there[-1]
    # As long as the oldest row is there, no others of that stretch go.
    memory, key = transaction.memory_of(rows.project), (oldest, replace(rows, start=first.start, end=first.start))
    if key not in memory.deleted:
        memory.remember_deleted(key, first.rows - await _count(transaction, replace(rows, start=oldest, end=first.end)))
    there[-1] = Stretch(oldest, first.end, first.rows - memory.deleted[key])
    return there


async def _count(transaction: Transaction, rows: Filter) -> int:
    """Return the number of rows, the oldest of which is the first one of all: only its minute has deleted ones."""
    minute = rows.start.replace(second=0, microsecond=0)
    if rows.end - minute > _MINUTE:  # else its end may be after the last year
        minute_over = minute + _MINUTE
        later = Question(replace(rows, start=minute_over), GroupBy.NOTHING, SLOW_MS, with_buckets=False)
        groups = await read_known_groups(transaction, later)
        if groups is not None:
            of_minute = await _count_rows(transaction, replace(rows, end=minute_over))
            return of_minute + sum(sums.requests for sums in groups.values())
    return await _count_rows(transaction, rows)


async def _count_rows(transaction: Transaction, rows: Filter) -> int:
    rows = transaction.seen(rows)
    [(count,)] = await transaction.binary_rows(_COUNT.format(conditions=conditions_of(rows)), values_of(rows))
    return int(count)


def _group_of(status: int) -> str | None:
    return next((name for name, (lowest, end) in STATUS_GROUPS.items() if lowest <= status < end), None)
