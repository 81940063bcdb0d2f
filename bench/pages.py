"""`python -m bench.pages`: how long pages take in a browser, from the click until all is there.

It shows the largest project of the database of the settings, which `make data` filled, and needs Chromium.
"""

import statistics
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from bench.browser import Browser, browsing
from bench.month_story import project_names
from bench.queries.asking import run_on
from server.database.setup import open_database, prepare_schema
from server.settings import load_settings
from storage.database import connect
from storage.keys.api_keys import Scope, create_key
from storage.keys.projects import find_project

VISITS: Final = 11
RANGES: Final = {"24 h": "a[title='Last 24 hours']", "30 days": "a[title='Last 30 days']"}
# The address of each page, and the most that it may take in milliseconds, as median; None: no bar.
PAGES: Final[dict[str, tuple[str, float | None]]] = {
    "overview": ("/", 500),
    "explorer": ("/explorer", 300),
    "explorer, failed": ("/explorer?statusGroup=5xx", 300),
}
# Where a page is reached from the overview by a click.
LINKS: Final = {"endpoint": "a[href^='/endpoint']", "host": "a[href^='/host']"}


def main() -> None:
    """Click, measure, print."""
    with open_database(load_settings(), may_create=False) as (url, _):
        with connect(url) as database:
            prepare_schema(database)
            _, key = create_key(database, find_project(database, project_names()[0]).id, "pages", scope=Scope.READ)
        with run_on(url) as (port, _), browsing() as browser:
            address = f"http://127.0.0.1:{port}"
            log_in(browser, address, key)
            table = Table(title=f"from the click until all is there, {VISITS} times each", box=box.SIMPLE_HEAD)
            for heading in ("page", "range", "median ms", "slowest", ""):
                table.add_column(heading, justify="left" if heading in ("page", "range", "") else "right")
            for page, (path, bar) in PAGES.items():
                for of_range, selector in RANGES.items():
                    add(table, page, of_range, measure(browser, address + path, selector), bar)
            for page, link in LINKS.items():
                add(table, page, "30 days", measure(browser, f"{address}/?range=30d", link), None)
    Console().print(table)


def log_in(browser: Browser, address: str, key: str) -> None:
    """Log in with a read key."""
    browser.visit(f"{address}/login")
    browser.type("#key", key)
    browser.click("form [type=submit], form button")


def measure(browser: Browser, address: str, selector: str) -> list[float]:
    """Return how long the page took each time that is reached by a click from another one."""
    times = []
    for _ in range(VISITS + 1):
        browser.visit(address)
        times.append(browser.click(selector))
    return times[1:]  # caches are warm


def add(table: Table, page: str, of_range: str, times: list[float], bar: float | None) -> None:
    """Add what a page took."""
    median = statistics.median(times)
    note = "" if bar is None or median <= bar else f"above {bar:g} ms"
    table.add_row(page, of_range, f"{median:,.0f}", f"{max(times):,.0f}", note)


if __name__ == "__main__":
    main()
