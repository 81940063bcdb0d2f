"""What each method reads, and how its answer is made of that."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from server.contract.query_method import QueryMethod
from server.errors import ValidationFailedError
from server.query.answers import (
    Answer,
    Distribution,
    Item,
    ItemPage,
    Pagination,
    TimeSeries,
    TopEndpoints,
    TopHosts,
    Trace,
)
from server.query.cursor import decode_cursor, encode_cursor
from server.query.figures import (
    SORTS,
    choose_step,
    to_distribution,
    to_endpoints,
    to_hosts,
    to_stats,
    to_time_series,
)  # fmt: skip
from server.query.parameters import Arguments
from storage.reading.narrowing import narrow
from storage.reading.parts import GroupBy
from storage.reading.question import Groups, Question
from storage.reading.rows import MOST_COUNTED, Position, Row, count_rows, list_rows, stream_rows, trace_rows
from storage.reading.sources import read_groups
from storage.reading.sums import Sums
from storage.reading.transaction import Transaction

_OUTBOUND: Final = "outbound"

Query = Callable[[Transaction, Arguments, int], Awaitable[Answer]]


async def list_http_requests(transaction: Transaction, arguments: Arguments, project: int) -> ItemPage:
    """Return a page of the list."""
    per_page, page, cursor = arguments["per_page"], arguments["page"], arguments["cursor"]
    after, offset = _place(page, per_page, cursor)
    rows = arguments.filter(project)
    narrowed = await narrow(transaction, rows)
    found = await list_rows(transaction, rows, narrowed, after=after, offset=offset, limit=per_page + 1)
    total, is_exact = await count_rows(transaction, rows, narrowed, arguments["most_counted"])
    shown = found[:per_page]
    has_more = len(found) > per_page
    pagination = Pagination(
        page=None if cursor is not None else page or 1,
        per_page=per_page,
        total=total,
        total_is_exact=is_exact,
        next_cursor=encode_cursor(Position(shown[-1].timestamp, shown[-1].id)) if has_more else None,
    )
    return ItemPage([to_item(row, arguments["slow_ms"]) for row in shown], pagination)


async def get_stats(transaction: Transaction, arguments: Arguments, project: int) -> Answer:
    """Return sums over all rows."""
    question = Question(arguments.filter(project), GroupBy.NOTHING, arguments["slow_ms"])
    groups = await read_groups(transaction, question)
    return to_stats(groups.get((), Sums()))


async def get_time_series(transaction: Transaction, arguments: Arguments, project: int) -> TimeSeries:
    """Return sums by steps of time."""
    start, end = arguments.start, arguments.end
    step_s = choose_step(start, end, arguments["step"])
    question = Question(arguments.filter(project), GroupBy.STEP, arguments["slow_ms"], step_s)
    groups = await read_groups(transaction, question)
    return to_time_series(groups, start, end, step_s)


async def get_distribution(transaction: Transaction, arguments: Arguments, project: int) -> Distribution:
    """Return all rows by their duration."""
    question = Question(arguments.filter(project), GroupBy.NOTHING, arguments["slow_ms"])
    groups = await read_groups(transaction, question)
    return to_distribution(groups.get((), Sums()))


async def list_top_hosts(transaction: Transaction, arguments: Arguments, project: int) -> TopHosts:
    """Return sums by host."""
    groups = await _first(transaction, arguments, project, GroupBy.HOST)
    return TopHosts(to_hosts(groups, arguments["sort"], arguments["limit"]))


async def list_top_endpoints(transaction: Transaction, arguments: Arguments, project: int) -> TopEndpoints:
    """Return sums by method, host and endpoint."""
    groups = await _first(transaction, arguments, project, GroupBy.PATH)
    return TopEndpoints(to_endpoints(groups, arguments["sort"], arguments["limit"]))


async def get_trace(transaction: Transaction, arguments: Arguments, project: int) -> Trace:
    """Return the rows of a trace."""
    rows = await trace_rows(transaction, project, arguments["trace_id"], start=arguments["from"], end=arguments["to"])
    return Trace([to_item(row, arguments["slow_ms"]) for row in rows])


QUERIES: Final[Mapping[QueryMethod, Query]] = {
    QueryMethod.LIST: list_http_requests,
    QueryMethod.STATS: get_stats,
    QueryMethod.TIME_SERIES: get_time_series,
    QueryMethod.DISTRIBUTION: get_distribution,
    QueryMethod.TOP_HOSTS: list_top_hosts,
    QueryMethod.TOP_ENDPOINTS: list_top_endpoints,
    QueryMethod.TRACE: get_trace,
}


async def export(transaction: Transaction, arguments: Arguments, project: int) -> AsyncIterator[list[Item]]:
    """Yield all rows of the list, some at a time."""
    async for rows in stream_rows(transaction, arguments.filter(project)):
        yield [to_item(row, arguments["slow_ms"]) for row in rows]


def to_item(row: Row, slow_ms: int) -> Item:
    """Return what clients see of a row."""
    return Item(
        id=str(row.id),
        trace_id=row.trace_id,
        direction=row.direction,
        method=row.method,
        host=row.host,
        path=row.path,
        status_code=row.status_code,
        duration_ms=row.duration_ms,
        request_size=row.request_size,
        response_size=row.response_size,
        is_slow=row.duration_ms > slow_ms,
        user_id=row.user_id,
        error_fingerprint=row.error_fingerprint,
        timestamp=row.timestamp,
        received_at=row.received_at,
    )


def _place(page: int | None, per_page: int, cursor: str | None) -> tuple[Position | None, int]:
    """Return after which position a page begins, or else at which offset. Raises ValidationFailedError."""
    if cursor is None:
        last_page = MOST_COUNTED // per_page
        if page is not None and page > last_page:
            raise ValidationFailedError({"page": f"must be between 1 and {last_page}; go on with `cursor`"})
        return None, ((page or 1) - 1) * per_page
    if page is not None:
        raise ValidationFailedError({"page": "must not be given with `cursor`"})
    after = decode_cursor(cursor)
    if after is None:
        raise ValidationFailedError({"cursor": "must be the `nextCursor` of an answer"})
    return after, 0


async def _first(transaction: Transaction, arguments: Arguments, project: int, group_by: GroupBy) -> Groups:
    """Return the sums of groups, the first ones among them."""
    rows = arguments.filter(project, direction=_OUTBOUND)
    sort, limit = SORTS[arguments["sort"]], arguments["limit"]
    return await read_groups(transaction, Question(rows, group_by, arguments["slow_ms"], sort=sort, limit=limit))
