"""Whether rollups equal the rows, to the row, after whatever happened."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import psycopg

from bench.faults.postgres import POLL_INTERVAL_S
from server.compiled.aggregator import choose_summing
from server.database.parts import Parts
from server.settings import Compiled
from storage.database import connect
from storage.endpoints import endpoint_of
from storage.rollups.aggregation import spans_of
from storage.rollups.groups import MINUTE_US, Level, Span
from storage.rollups.rolling import Roller
from storage.rollups.state import EPOCH_S, RollupState, read_state
from storage.rollups.stored_groups import KIND_BITS, decode_groups, kind_of

_ROWS: Final = f"""
SELECT project, (extract(epoch FROM date_trunc('minute', "timestamp", 'UTC')) - {EPOCH_S})::bigint * 1000000,
       is_inbound, status_code, method, host, path, count(*), sum(coalesce(duration_ms, long_duration_ms))
  FROM http_request_rows GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_STORED: Final = f"""
SELECT level, project, (extract(epoch FROM start) - {EPOCH_S})::bigint * 1000000, groups FROM {{table}}
"""
_NAMES: Final = "SELECT project, number, method, host, endpoint FROM rollup_names"

# The table, level, project, time and kind, names; and the requests and their duration.
Sums = Counter[tuple[object, ...]]


def differences(database_url: str) -> list[str]:
    """Sum up the rows that are left, and return what rollups do not have as the rows do, also shard by shard.

    Raises psycopg.Error, StorageError.
    """
    wrong: list[tuple[object, ...]] = []
    with connect(database_url) as connection:
        for part in Parts(connection, database_url):
            wrong += _differences_in(part)
    return [f"rollups differ from the rows in {len(wrong)} sums, such as {wrong[0]}"] if wrong else []


def _differences_in(part: psycopg.Connection) -> list[tuple[object, ...]]:
    _sum_up_the_rest(part)
    state = read_state(part)
    rows, rollups = Counter(), Counter()  # type: Sums, Sums
    for place, count, duration_ms in _of_rows(part, state):
        rows.update({(*place, "requests"): count, (*place, "duration"): duration_ms})
    for place, count, duration_ms in _of_rollups(part, state):
        rollups.update({(*place, "requests"): count, (*place, "duration"): duration_ms})
    return [place for place in rows | rollups if rows[place] != rollups[place]]


def _sum_up_the_rest(connection: psycopg.Connection) -> None:
    roller = Roller(choose_summing(Compiled.AUTO))
    while (done := roller.roll(connection)) is None or done.is_behind:
        if done is None:  # Postgres has not noticed yet that the server is gone
            time.sleep(POLL_INTERVAL_S)


def _of_rows(connection: psycopg.Connection, state: RollupState) -> Iterator[tuple[tuple[object, ...], int, int]]:
    for project, minute_us, is_inbound, status, method, host, path, count, duration_ms in connection.execute(_ROWS):
        names = ((), (method, host, None), (method, host, endpoint_of(path)))
        for span in spans_of(minute_us, state.times):
            start_us = minute_us // span.length_us * span.length_us
            for level in Level:
                place = (span, level, project, start_us, kind_of(is_inbound, status), names[level])
                yield place, count, int(duration_ms)


def _of_rollups(connection: psycopg.Connection, state: RollupState) -> Iterator[tuple[tuple[object, ...], int, int]]:
    names = {(project, number): tuple(texts) for project, number, *texts in connection.execute(_NAMES)}
    for span in Span:
        for level, project, start_us, data in connection.execute(_STORED.format(table=span.table).encode()):
            # An hour that is being made is there to its last minute, or not at all.
            if span not in spans_of(start_us + span.length_us - MINUTE_US, state.times):
                continue
            for key, sums in decode_groups(data):
                number, kind = divmod(key, 2**KIND_BITS)
                place = (span, level, project, start_us, kind, names.get((project, number), ()))
                yield place, sums.requests, sums.duration_ms
