"""The pages of traffic in a browser: charts, zoom, filters, paging, live, themes, a phone, hostile telemetry."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from storage.keys.api_keys import Scope
from tests.batches import make_item
from tests.browser import data
from tests.browser.browser import Browser
from tests.browser.conftest import Keys as RawKeys
from tests.running_server import create_key

ENDPOINT = "/endpoint?direction=inbound&method=POST&host=payments.example.com&endpoint=%2Fv1%2Forders%2F%7Bid%7D"
PAGES = (
    "/", "/explorer", ENDPOINT, "/host?direction=inbound&host=api.example.com", f"/trace/{data.TRACE}", "/live",
)  # fmt: skip


def query(browser: Browser) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(browser.path).query).items()}


def drag(browser: Browser, begin: float, end: float) -> None:
    """Drag over the first chart, from a share of its width to another one."""
    chart = browser.find("figure .inside")
    width = chart.size["width"]
    actions = ActionChains(browser.driver)
    actions.move_to_element_with_offset(chart, int((begin - 0.5) * width), 0).click_and_hold()
    actions.move_to_element_with_offset(chart, int((end - 0.5) * width), 0).release().perform()
    browser.wait("location.search.includes('from=')")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_and_keeps_nobody_out(reader: Browser, path: str) -> None:
    reader.check(path)


@pytest.mark.parametrize("path", ["/explorer?statusGroup=x", "/trace/none"])
def test_what_went_wrong_fits_and_keeps_nobody_out(reader: Browser, path: str) -> None:
    reader.open(path)
    assert (reader.overflow(), reader.grave_violations()) == (0, [])
    assert [message for message in reader.messages() if "status of 4" not in message] == []


@pytest.mark.parametrize("path", ["/", "/explorer"])
def test_a_page_without_requests_fits_and_keeps_nobody_out(browser: Browser, keys: RawKeys, path: str) -> None:
    browser.log_in(keys.empty)
    browser.check(path)


@pytest.mark.parametrize("path", ["/", "/explorer"])
def test_hostile_telemetry_is_only_text(browser: Browser, keys: RawKeys, path: str) -> None:
    browser.log_in(keys.hostile)
    browser.check(path)
    assert browser.run("return document.title") != "taken"
    assert not browser.all("main img")
    assert "\u202e" not in browser.text
    assert all(
        address is None or address.startswith(browser.url)
        for address in [link.get_attribute("href") for link in browser.all("a")]
    )
    assert browser.messages() == []


def test_charts_draw_and_are_read_out_by_pointer_and_keys(reader: Browser) -> None:
    reader.open("/")
    assert all(path.get_attribute("d") for path in reader.all("figure path"))
    ActionChains(reader.driver).move_to_element(reader.find("figure")).perform()
    tip = reader.find("figure .tip")
    assert "Requests" in tip.text
    reader.run("document.querySelectorAll('figure')[2].focus()")
    ActionChains(reader.driver).send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT).perform()
    assert "p95" in reader.all("figure .tip")[2].text


def test_dragging_zooms_and_the_address_says_so(reader: Browser) -> None:
    reader.open("/explorer?direction=inbound")
    drag(reader, 0.25, 0.75)
    given = query(reader)
    assert given["direction"] == "inbound"
    assert given["from"] < given["to"]
    assert reader.find(".menu[data-chosen]")


def test_filters_and_pages_of_the_list(reader: Browser) -> None:
    reader.open("/explorer")
    reader.find("[name=host]").send_keys("api.example.com")
    reader.find("[name=statusGroup]").send_keys("Failed")
    reader.press("Filter")
    assert query(reader)["statusGroup"] == "failed"
    hosts = {element.text for element in reader.all("tbody .host")}
    assert hosts == {"api.example.com"}
    first = reader.find("tbody a[data-item]").get_attribute("data-item")
    reader.find("a[rel=next]").click()
    reader.wait("location.search.includes('cursor=')")
    assert reader.find("tbody a[data-item]").get_attribute("data-item") != first


def test_a_chosen_request_stands_beside_the_list(reader: Browser) -> None:
    reader.open("/explorer")
    reader.find("tbody tr td.cut").click()
    reader.wait("!document.querySelector('[data-details]').hidden")
    assert query(reader)["item"] == reader.find("tr.chosen a").get_attribute("data-item")
    assert "Trace" in reader.find("[data-details]").text
    reader.driver.refresh()
    assert "Trace" in reader.find("[data-details]").text
    ActionChains(reader.driver).move_to_element(reader.find("tr.chosen a")).perform()
    reader.find("[data-close]").click()
    reader.wait("document.querySelector('[data-details]').hidden")
    assert "item" not in query(reader)


def test_times_are_in_the_zone_of_the_reader_and_addresses_in_utc(reader: Browser) -> None:
    reader.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "America/New_York"})
    try:
        reader.open("/explorer?from=2026-03-31T10:00:00Z&to=2026-03-31T12:00:00Z")
        assert "America/New_York" in reader.find("footer").text
        reader.find(".menu summary").click()
        begin = reader.find("input[name=from][type=datetime-local]")
        assert str(begin.get_attribute("value")).startswith("2026-03-31T06:00")
        reader.press("Show")
        assert query(reader)["from"] == "2026-03-31T10:00:00.000Z"
    finally:
        reader.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_the_theme_can_be_chosen_and_lasts(reader: Browser) -> None:
    reader.open("/")
    paper = reader.run("return getComputedStyle(document.body).backgroundColor")
    switch = reader.find("[data-theme-switch]")
    switch.click()
    switch.click()
    assert reader.run("return document.documentElement.dataset.theme") == "dark"
    assert reader.run("return getComputedStyle(document.body).backgroundColor") != paper
    reader.driver.refresh()
    assert reader.run("return document.documentElement.dataset.theme") == "dark"


def test_a_page_refreshes_itself_and_keeps_what_is_typed(reader: Browser) -> None:
    reader.open("/explorer?range=15m")
    reader.find("[name=path]").send_keys("/typed")
    reader.run("document.querySelector('[data-live]').dataset.old = 'yes'")
    reader.wait("!document.querySelector('[data-live]').dataset.old")
    assert reader.find("[name=path]").get_attribute("value") == "/typed"
    reader.find("[data-refresh]").click()
    assert reader.find("[data-refresh]").get_attribute("aria-pressed") == "false"
    assert reader.messages() == []


def test_requests_show_as_they_arrive_and_wait_while_it_is_paused(reader: Browser) -> None:
    server = reader.server
    reader.open("/live?host=live.example.com")
    reader.wait("document.querySelector('[data-state]').textContent === 'Following.'")

    def send(path: str) -> None:
        batch = {"projectId": server.project_id, "requests": [make_item(host="live.example.com", path=path)]}
        assert server.post(batch).status == 202

    send("/first")
    reader.wait("document.querySelector('tbody').textContent.includes('/first')")
    reader.find("[data-pause]").click()
    send("/second")
    reader.wait("document.querySelector('[data-state]').textContent.includes('1 more')")
    assert "/second" not in reader.find("tbody").text
    reader.find("[data-pause]").click()
    assert "/second" in reader.driver.find_element(By.CSS_SELECTOR, "tbody tr").text
    assert reader.messages() == []


def test_gaps_of_a_trace_lie_between_its_requests(reader: Browser) -> None:
    reader.open(f"/trace/{data.TRACE}")
    assert [row.text.startswith("gap") for row in reader.all("tbody tr")] == [False, True] * (data.TRACE_ROWS - 1) + [
        False
    ]
    assert "20 ms" in reader.find("tr.gap").text
    ends = "[...document.querySelectorAll('tbody rect')].map(bar => bar.getBoundingClientRect())"
    assert reader.run(f"return {ends}.every((bar, at, all) => !at || Math.abs(bar.left - all[at - 1].right) < 1)")


def test_the_start_page_goes_on_when_a_first_request_comes(browser: Browser) -> None:
    server = browser.server
    project_id, api_key = create_key(server.database_url)
    browser.log_in(create_key(server.database_url, project_id, scope=Scope.READ)[1])
    browser.wait("document.querySelector('[data-start] [data-state]').textContent.startsWith('Waiting')")
    batch = {"projectId": project_id, "requests": [make_item(timestamp=datetime.now(UTC).isoformat())]}
    assert server.post(batch, X_SeeStack_Key=api_key).status == 202
    browser.wait("document.querySelector('[data-live]')")
    assert "1 in all" in browser.text
    assert browser.messages() == []


def test_keys_reach_everything(reader: Browser) -> None:
    reader.open("/")
    ActionChains(reader.driver).send_keys(Keys.TAB).perform()
    assert reader.run("return document.activeElement.textContent") == "Skip to content"
    ActionChains(reader.driver).send_keys(Keys.ENTER).perform()
    reader.wait("document.activeElement.id === 'content'")
