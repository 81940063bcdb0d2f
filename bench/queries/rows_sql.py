"""The same questions as plain SQL over the rows, with exact percentiles."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg

_FIGURES: Final = """
    count(*), count(*) FILTER (WHERE status_code = 0 OR status_code >= 400),
    percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms)
"""
_WHERE: Final = (
    'FROM http_request_rows WHERE project = %(project)s AND "timestamp" >= %(from)s AND "timestamp" < %(to)s'
)
# Ids in the month's paths are numbers.
QUESTIONS: Final = {
    "stats": f"SELECT {_FIGURES} {_WHERE}",
    "timeseries": f"""
        SELECT floor(extract(epoch FROM "timestamp") / %(step)s)::bigint * %(step)s, {_FIGURES} {_WHERE} GROUP BY 1
    """,
    "top-hosts": f"SELECT host, {_FIGURES} {_WHERE} AND NOT is_inbound GROUP BY 1",
    "top-endpoints": f"""
        SELECT method, host, regexp_replace(path, '/[0-9]+', '/{{id}}', 'g'), {_FIGURES} {_WHERE} AND NOT is_inbound
         GROUP BY 1, 2, 3
    """,
}
LISTS: Final = {
    "list": "true",
    "list statusGroup": "status_code >= 500 AND status_code < 600",
    "list host": "host = %(value)s",
    "list path": "path ILIKE '%%' || %(value)s || '%%'",
}
_LIST: Final = """
SELECT id::text {where} AND {condition} ORDER BY "timestamp" DESC, id DESC LIMIT 50
"""
_TRACES: Final = f'SELECT trace, min("timestamp") {_WHERE} AND trace IS NOT NULL GROUP BY 1 ORDER BY md5(trace::text)'


class Figures(NamedTuple):
    """What an answer and the rows must agree on; percentiles within 1 %."""

    requests: int
    failed: int
    percentiles: tuple[float, ...]

    def agrees_with(self, exact: "Figures") -> bool:
        """Tell whether an answer has the figures of the rows."""
        return self[:2] == exact[:2] and all(
            abs(found - wanted) <= 0.01 * wanted for found, wanted in zip(self[2], exact[2], strict=True)
        )


def figures_of_rows(
    database: psycopg.Connection, question: str, values: dict[str, Any]
) -> dict[tuple[Any, ...], Figures]:
    """Return the figures of all groups."""
    found = database.execute(QUESTIONS[question].encode(), values).fetchall()
    return {tuple(row[:-3]): Figures(row[-3], row[-2], tuple(map(float, row[-1]))) for row in found}


def count_matches(database: psycopg.Connection, condition: str, values: dict[str, Any]) -> int:
    """Return how many rows a list is of."""
    row = database.execute(f"SELECT count(*) {_WHERE} AND {condition}".encode(), values).fetchone()
    assert row is not None
    return int(row[0])


def first_ids(database: psycopg.Connection, condition: str, values: dict[str, Any]) -> list[str]:
    """Return the ids of a list's first page."""
    return [row[0] for row in database.execute(_LIST.format(where=_WHERE, condition=condition).encode(), values)]


def some_traces(database: psycopg.Connection, values: dict[str, Any], count: int) -> Sequence[tuple[str, datetime]]:
    """Return traces of a range, with the time of their first row in it."""
    found = database.execute(f"{_TRACES} LIMIT {count}".encode(), values)
    return [(trace.hex, begin) for trace, begin in found]
