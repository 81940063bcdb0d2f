"""The pages of endpoints, hosts and traces."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from http_bridge.pages.traces import make_waterfall
from server.query.answers import Item
from tests.pages.browsing import Browsing
from tests.pages.conftest import HOSTILE, TURNED

ENDPOINT = {"direction": "inbound", "method": "GET", "host": "api.example.com", "endpoint": "/orders/{id}"}
HOST = {"direction": "inbound", "host": "api.example.com"}


@pytest.mark.parametrize("missing", ENDPOINT)
def test_an_endpoint_needs_all_of_its_name(browsing: Browsing, missing: str) -> None:
    page = browsing.see("/endpoint", 422, **{**ENDPOINT, missing: ""})
    assert missing in page.text


@pytest.mark.parametrize(("path", "given"), [("/endpoint", ENDPOINT), ("/host", HOST)])
def test_it_shows_figures_durations_and_failures(browsing: Browsing, path: str, given: dict[str, str]) -> None:
    page = browsing.see(path, **given)
    charts = [json.loads(found["data-chart"]) for found in page.all("figure")]
    assert [len(chart["names"]) for chart in charts] == [1, 1, 3, 1]
    assert "Recent failures" in page.text
    assert {"statusGroup": "failed", **given} in page.links("/explorer")
    assert given in page.links("/explorer")


def test_a_host_has_its_endpoints(browsing: Browsing) -> None:
    page = browsing.see("/host", **HOST)
    assert {link["endpoint"] for link in page.links("/endpoint")} == {"/orders/{id}"}
    assert {"sort": "slowest", **HOST} in page.links("/host")
    assert browsing.see("/host", 422, sort="x", **HOST).all("section", role="alert")


@pytest.mark.parametrize("host", [HOSTILE, TURNED])
def test_hostile_names_are_text(browsing: Browsing, host: str) -> None:
    page = browsing.see("/host", direction="inbound", host=host)
    assert TURNED not in "".join(page.texts)
    assert ("abc\\u202edef" if host == TURNED else HOSTILE) in page.text


def test_without_requests_it_says_so(browsing: Browsing) -> None:
    page = browsing.see("/endpoint", **{**ENDPOINT, "host": "nowhere"})
    assert "Nothing failed in this range" in page.text
    assert len(page.all("figure")) == 3


def test_a_trace_is_a_waterfall(browsing: Browsing) -> None:
    page = browsing.see("/trace/trace-7")
    assert len(page.all("rect", class_="span")) == 3
    assert len(page.all("rect", class_="span failed")) == 1
    assert "gap: no request was under way" in page.text
    assert len(page.links("/request")) == 4


def test_a_trace_may_have_any_id(browsing: Browsing) -> None:
    trace_id = f"{HOSTILE}/../"
    page = browsing.see("/explorer", userId=HOSTILE)
    (link,) = [link for link in page.links("/explorer") if "item" in link]
    assert {"id": trace_id} in browsing.see("/request", item=link["item"], at=link["at"]).links("/trace")
    assert HOSTILE in browsing.see("/trace", id=trace_id).text


@pytest.mark.parametrize("path", ["/trace/nothing", "/trace/a/b/c", "/trace/%00"])
def test_there_may_be_no_such_trace(browsing: Browsing, path: str) -> None:
    answer = browsing.get(path)
    assert answer.status in (404, 422)
    assert b'role="alert"' in answer.body
    assert browsing.see("/trace", 422).all("section", role="alert")


def item(begin_ms: int, duration_ms: int, status: int = 200) -> Item:
    moment = datetime(2026, 3, 31, tzinfo=UTC) + timedelta(milliseconds=begin_ms)
    return Item(
        "id", "trace", "inbound", "GET", "h", "/", status, duration_ms, 0, 0, False, None, None, moment, moment
    )  # fmt: skip


def test_gaps_are_where_no_request_was_under_way() -> None:
    found = make_waterfall([item(0, 100), item(10, 20), item(150, 50, 500), item(200, 0)])
    assert [(span.item is None, span.offset_ms, span.duration_ms) for span in found.spans] == [
        (False, 0, 100), (False, 10, 20), (True, 100, 50), (False, 150, 50), (False, 200, 0),
    ]  # fmt: skip
    assert (found.whole_ms, found.busy_ms, found.failed) == (200, 150, 1)
    assert [(span.left, span.width) for span in found.spans][-2:] == [(75, 25), (99.6, 0.4)]


def test_a_trace_that_took_no_time_has_whole_bars() -> None:
    (span,) = make_waterfall([item(0, 0)]).spans
    assert (span.left, span.width) == (0, 100)
