"""The overview, and what all pages have in common."""

import pytest

from tests.pages.browsing import Browsing, Page
from tests.pages.conftest import HOSTILE, LONG_PATH, TURNED


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"range": "1y"}, "range"),
        ({"from": "x"}, "from"),
        ({"direction": "sideways"}, "direction"),
        ({"sort": "name"}, "sort"),
        ({"range": HOSTILE}, "range"),
    ],
)
def test_a_wrong_parameter_is_named(browsing: Browsing, parameters: dict[str, str], wrong: str) -> None:
    page = browsing.see("/", 422, **parameters)
    assert wrong in page.text
    assert not page.all("figure")


def test_it_shows_figures_charts_and_groups(browsing: Browsing) -> None:
    page = browsing.see("/")
    assert "203 in all" in page.text
    assert len(page.all("figure", class_="chart")) == 3
    assert page.links("/endpoint")[0] == {
        "direction": "inbound", "method": "GET", "host": "api.example.com", "endpoint": "/orders/{id}",
    }  # fmt: skip
    assert {"direction": "outbound", "host": "db.internal"} in page.links("/host")


def test_it_shows_the_same_when_it_refreshes_itself(browsing: Browsing) -> None:
    for _ in range(2):
        answer = browsing.visitor.get("/", X_SeeStack_Refresh="1")
        assert (answer.status, "203 in all" in Page(answer).text) == (200, True)


def test_charts_are_there_as_a_table_too(browsing: Browsing) -> None:
    assert {"table": "1", "range": "1h"} in browsing.see("/", range="1h").links("/")
    page = browsing.see("/", range="1h", table="1")
    assert len([found for found in page.all("time") if found["data-form"] == "span"]) >= 60


@pytest.mark.parametrize("sort", ["requests", "failed", "time", "slowest"])
def test_groups_come_in_the_order_asked_for(browsing: Browsing, sort: str) -> None:
    first = browsing.see("/", sort=sort).links("/host")[0]["host"]
    assert first == ("long.example.com" if sort in ("time", "slowest") else first)
    assert {"sort": sort} in browsing.see("/", sort=sort).links("/")


def test_it_may_be_about_one_direction(browsing: Browsing) -> None:
    page = browsing.see("/", direction="outbound")
    assert "100 in all" in page.text
    assert {link["host"] for link in page.links("/host")} == {"db.internal"}


def test_links_keep_the_range(browsing: Browsing) -> None:
    page = browsing.see("/", range="6h")
    assert {link["range"] for link in page.links("/endpoint")} == {"6h"}
    assert {"range": "6h", "direction": "inbound"} in page.links("/")


@pytest.mark.parametrize("name", ["15m", "1h", "6h", "7d", "30d"])
def test_it_has_every_range(browsing: Browsing, name: str) -> None:
    assert len(browsing.see("/", range=name).all("figure", class_="chart")) == 3


@pytest.mark.parametrize("given", [{"from": "9999-12-31T00:00", "to": "9999-12-31T23:59:59.999999"}])
def test_it_has_ranges_of_any_time(browsing: Browsing, given: dict[str, str]) -> None:
    assert "1 in all" in browsing.see("/", **given).text


def test_text_of_others_is_text(browsing: Browsing) -> None:
    page = browsing.see("/", sort="time")
    assert HOSTILE in page.text
    assert len(page.all("script")) == len(
        [script for script in page.all("script") if script["src"].startswith("/static/")]
    )
    assert TURNED not in page.html
    assert "abc\\u202edef" in page.text
    assert LONG_PATH not in page.text


def test_nothing_leads_elsewhere(browsing: Browsing) -> None:
    page = browsing.see("/")
    addresses = [
        value for _, found in page.elements for name, value in found.items() if name in ("href", "src", "action")
    ]
    assert addresses
    assert all(address.startswith(("/", "#")) and not address.startswith("//") for address in addresses)
    assert not any("style" in found or any(name.startswith("on") for name in found) for _, found in page.elements)


def test_without_requests_it_is_the_start_page(empty: Browsing) -> None:
    assert "Send a first request" in empty.see("/").text


def test_a_range_without_requests_says_so(browsing: Browsing) -> None:
    page = browsing.see("/", **{"from": "2001-01-01T00:00", "to": "2001-01-02T00:00"})
    assert "No requests in this range" in page.text


def test_files_are_kept_by_browsers_as_long_as_they_are_the_same(browsing: Browsing) -> None:
    page = browsing.see("/")
    files = [found["src"] for found in page.all("script")] + [found["href"] for found in page.all("link")]
    for address in files:
        answer = browsing.get(address)
        assert answer.status == 200
        assert "max-age=31536000" in answer.headers["cache-control"]
