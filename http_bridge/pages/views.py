"""The views of traffic: their addresses, and what each shows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import chain
from typing import Final

from flask import Blueprint, Response, make_response, render_template, request

from http_bridge.http1.greenlets import wait
from http_bridge.pages import asking
from http_bridge.pages.asking import Asking, call_of
from http_bridge.pages.explorer import explore, read_item
from http_bridge.pages.filters import FIELDS, LIVE_FIELDS, filters_of
from http_bridge.pages.groups import DIRECTIONS, SORTS
from http_bridge.pages.live import follow
from http_bridge.pages.overview import has_any_requests, read_overview
from http_bridge.pages.ranges import Range, parse_range
from http_bridge.pages.scopes import read_scope
from http_bridge.pages.start import Start
from http_bridge.pages.traces import make_waterfall
from http_bridge.query_routes import messages_of
from server.contract.query_method import QueryMethod
from server.errors import IngestError, PathNotFoundError, ValidationFailedError
from server.query.relay.client import QueryRelay

MOST_OF_TRACE: Final = 1_000

_SCOPES: Final[Mapping[str, tuple[str, ...]]] = {
    "endpoint": ("direction", "method", "host", "endpoint"),
    "host": ("direction", "host"),
}
_FORMATS: Final = {"csv": "CSV", "jsonl": "JSON lines"} | ({"parquet": "Parquet"} if find_spec("pyarrow") else {})


def add_traffic_views(pages: Blueprint, relay: QueryRelay, start: Start) -> None:
    """Add the views of a project's traffic, which ask by `relay`."""

    @pages.get("/")
    def overview() -> str:
        period = _period()
        direction = _choice("direction", DIRECTIONS, "")
        sort = _choice("sort", SORTS, "requests")
        shown = read_overview(relay, period, direction, sort)
        if not shown.figures.stats.total_requests and not has_any_requests(relay):
            return render_template("start.html", start=start.example())
        return render_template("overview.html", overview=shown, period=period, direction=direction, sort=sort)

    @pages.get("/explorer")
    def explorer() -> Response:
        return _explore(relay)

    @pages.get("/request")
    def one_request() -> str:
        item = read_item(relay, request.args.get("item", ""), request.args.get("at", ""))
        if item is None:
            raise PathNotFoundError("There is no such request, or not any more")
        return render_template("request.html", item=item)

    @pages.get("/export")
    def export() -> Response:
        period = _period()
        asked = {**filters_of(request.args), **period.parameters, "format": request.args.get("format")}
        reply = wait(relay.ask(call_of(QueryMethod.EXPORT, asked)))
        # The first message is waited for here, so that a refusal has its own status.
        messages = messages_of(reply)
        first = next(messages, b"")
        return Response(chain((first,), messages), headers=dict(reply.headers))

    @pages.get("/endpoint", defaults={"kind": "endpoint"})
    @pages.get("/host", defaults={"kind": "host"})
    def scope(kind: str) -> str:
        return _show_scope(relay, kind)

    @pages.get("/trace", defaults={"trace_id": ""})
    @pages.get("/trace/<path:trace_id>")
    def trace(trace_id: str) -> str:
        with Asking(relay) as questions:
            given = {"traceId": trace_id or request.args.get("id", "")}
            items = questions.ask(asking.TRACE, given).get().items
        if not items:
            raise PathNotFoundError("This trace has no requests, or not any more")
        return render_template("trace.html", waterfall=make_waterfall(items), items=items, most=MOST_OF_TRACE)

    @pages.get("/live")
    def live() -> str:
        filters = filters_of(request.args)
        with Asking(relay) as questions:
            found = questions.ask(asking.LIST, {**filters, "perPage": 50, "mostCounted": 0}).get()
        return render_template("live.html", items=found.items, filters=filters, fields=LIVE_FIELDS)

    @pages.get("/live/events")
    def live_events() -> Response:
        headers = {"X-Accel-Buffering": "no"}  # or a proxy would keep events back
        return Response(follow(relay, filters_of(request.args)), headers=headers, mimetype="text/event-stream")


def _explore(relay: QueryRelay) -> Response:
    period = _period()
    filters = filters_of(request.args)
    shown = {"period": period, "filters": filters, "fields": FIELDS, "formats": _FORMATS}
    chosen = (request.args["item"], request.args.get("at", "")) if request.args.get("item") else None
    try:
        found = explore(relay, period, filters, request.args.get("cursor") or None, chosen)
    except IngestError as error:
        return _refuse_filters(error, shown)
    return make_response(render_template("explorer.html", found=found, chosen=chosen, problems={}, **shown))


def _refuse_filters(error: IngestError, shown: Mapping[str, object]) -> Response:
    """Return the form with what is wrong beside each field; what stands in no field has a page of its own."""
    if not error.details or not error.details.keys() <= {field.name for field in FIELDS}:
        raise error
    body = render_template("explorer.html", found=None, chosen=None, problems=error.details, **shown)
    return make_response(body, error.outcome.http_status)


def _show_scope(relay: QueryRelay, kind: str) -> str:
    period = _period()
    filters = {name: request.args.get(name, "") for name in _SCOPES[kind]}
    if missing := [name for name, value in filters.items() if not value]:
        raise ValidationFailedError(dict.fromkeys(missing, "must not be blank"))
    sort = _choice("sort", SORTS, "requests") if kind == "host" else None
    shown = read_scope(relay, period, filters, sort)
    return render_template("scope.html", kind=kind, scope=shown, period=period, filters=filters, sort=sort)


def _period() -> Range:
    return parse_range(request.args, datetime.now(UTC))


def _choice(name: str, allowed: Mapping[str, str], default: str) -> str:
    value = request.args.get(name) or default
    if value not in allowed:
        raise ValidationFailedError({name: f"must be one of {', '.join(filter(None, allowed))}"})
    return value
