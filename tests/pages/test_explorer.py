"""The explorer, single requests, and exports."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from http_bridge.pages.filters import FIELDS
from tests.pages.browsing import Browsing, Page
from tests.pages.conftest import HOSTILE, LONG_PATH, TURNED


def count_of(page: Page) -> int:
    return len([row for row in page.all("tr") if "data-row" in row])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("statusGroup", "6xx", "must match"),
        ("minDurationMs", "fast", "must be an integer"),
        ("direction", HOSTILE, "must match"),
        ("method", "G T", "must be a valid HTTP method"),
        ("status", "99", "must be 0 or between 100 and 599"),
        ("host", "x" * 256, "size must be between"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(browsing: Browsing, name: str, value: str, words: str) -> None:
    page = browsing.see("/explorer", 422, **{name: value})
    assert words in page.text
    (field,) = [*page.all("select", name=name, aria_invalid="true"), *page.all("input", name=name, aria_invalid="true")]
    assert page.all("span", id=field["aria-describedby"])
    assert not page.all("figure")


@pytest.mark.parametrize("given", [{"cursor": "x"}, {"range": "x"}, {"item": "x", "at": "never"}, {"from": "x"}])
def test_a_wrong_address_is_explained(browsing: Browsing, given: dict[str, str]) -> None:
    assert browsing.see("/explorer", 422, **given).all("section", role="alert")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, 203), ({"direction": "outbound"}, 100), ({"statusGroup": "failed"}, 21), ({"statusGroup": "0"}, 1),
        ({"method": "post"}, 69), ({"host": "db.internal"}, 100), ({"path": "/ORDERS/19"}, 11),
        ({"endpoint": "/orders/{id}"}, 200), ({"userId": "usr_1"}, 40), ({"minDurationMs": "200"}, 4),
        ({"status": "500"}, 20), ({"host": "nowhere", "direction": ""}, 0),
    ],
)  # fmt: skip
def test_filters_select(browsing: Browsing, given: dict[str, str], found: int) -> None:
    page = browsing.see("/explorer", **given)
    assert f"{found} requests" in page.text
    assert count_of(page) == min(50, found)
    assert ("No requests match these filters" in page.text) == (found == 0)
    for name, value in given.items():
        shown = page.all("input", name=name, value=value) or page.all("option", value=value, selected="")
        assert shown


def test_pages_follow_each_other(browsing: Browsing) -> None:
    seen: list[str] = []
    parameters: dict[str, str] = {"direction": "outbound", "range": "7d"}
    while True:
        page = browsing.see("/explorer", **parameters)
        seen += [found["data-item"] for found in page.all("a") if "data-item" in found]
        following = page.all("a", rel="next")
        if not following:
            break
        (parameters,) = [link for link in page.links("/explorer") if "cursor" in link]
        assert parameters["direction"] == "outbound"
        assert parameters["range"] == "7d"
    assert len(seen) == len(set(seen)) == 100


def test_a_chosen_request_is_shown_beside_the_list(browsing: Browsing) -> None:
    page = browsing.see("/explorer", path="/orders/17")
    chosen = next(link for link in page.links("/explorer") if "item" in link)
    beside = browsing.see("/explorer", **chosen)
    assert len([row for row in beside.all("tr") if row.get("class") == "chosen"]) == 1
    assert {"userId": "usr_1"} in beside.links("/explorer") or {"userId": "usr_2"} in beside.links("/explorer")
    assert beside.links("/endpoint")
    alone = browsing.see("/request", item=chosen["item"], at=chosen["at"])
    assert "/orders/17" in alone.text


def test_a_request_that_is_not_there_any_more_is_told(browsing: Browsing) -> None:
    given = {"item": "01a2184c-8e00-745d-9b78-4ba2ed39d095", "at": "2026-01-01T00:00:00Z"}
    assert "not stored" in browsing.see("/explorer", **given).text
    assert browsing.see("/request", 404, **given).all("section", role="alert")
    assert browsing.see("/request", 422).all("section", role="alert")


def test_long_paths_are_whole_in_the_details_alone(browsing: Browsing) -> None:
    page = browsing.see("/explorer", host="long.example.com")
    assert LONG_PATH not in page.html
    (link,) = [link for link in page.links("/explorer") if "item" in link]
    assert LONG_PATH in browsing.see("/request", item=link["item"], at=link["at"]).text


@pytest.mark.parametrize("host", [HOSTILE, TURNED])
def test_hostile_requests_are_text(browsing: Browsing, host: str) -> None:
    page = browsing.see("/explorer", host=host)
    assert count_of(page) == 1
    assert TURNED not in "".join(page.texts)
    (link,) = [link for link in page.links("/explorer") if "item" in link]
    alone = browsing.see("/request", item=link["item"], at=link["at"])
    assert ("abc\\u202edef" if host == TURNED else HOSTILE) in alone.text
    assert all(script["src"].startswith("/static/") for script in alone.all("script"))


def test_requests_of_impossible_times_are_shown(browsing: Browsing) -> None:
    page = browsing.see(
        "/explorer", **{"from": "9999-01-01T00:00", "to": "9999-12-31T23:59:59.5", "host": "never.example.com"}
    )
    assert count_of(page) == 1
    (link,) = [link for link in page.links("/explorer") if "item" in link]
    assert "9999-12-31 23:59:59" in browsing.see("/request", item=link["item"], at=link["at"]).text


def test_an_export_has_the_filters_of_the_page(browsing: Browsing) -> None:
    page = browsing.see("/explorer", statusGroup="failed", range="7d")
    (link,) = [link for link in page.links("/export") if link["format"] == "csv"]
    assert (link["statusGroup"], link["range"]) == ("failed", "7d")
    answer = browsing.get("/export", link)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert len(list(csv.DictReader(io.StringIO(answer.body.decode())))) == 21
    assert browsing.see("/export", 422).all("section", role="alert")


def test_without_requests_it_says_so(empty: Browsing) -> None:
    page = empty.see("/explorer")
    assert "No requests in this range" in page.text
    assert not page.links("/export")


def test_every_field_has_a_label(browsing: Browsing) -> None:
    page = browsing.see("/explorer")
    assert len([name for name, _ in page.elements if name == "label"]) >= len(FIELDS)


def test_an_absolute_range_is_kept_by_the_form(browsing: Browsing) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    given = {"from": (now - timedelta(hours=1)).isoformat(), "to": now.isoformat()}
    page = browsing.see("/explorer", **given)
    assert page.all("input", type="hidden", name="from")
    assert page.all("input", type="hidden", name="to")
