"""One browser, and one server with data, for all tests here."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from storage.keys.api_keys import Scope
from tests.browser.browser import CHROMIUM, DRIVER, Browser, start_chromium
from tests.browser.data import hostile_items, ordinary_items
from tests.running_server import RunningServer, create_key, start_server


@dataclass(frozen=True)
class Keys:
    """Keys to read the projects of the server."""

    ordinary: str
    hostile: str
    empty: str


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    """A browser without a window."""
    missing = [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
    if missing:
        pytest.skip(f"no browser: {' and '.join(missing)} missing; apt-get install chromium chromium-driver")
    profile = Path(tempfile.mkdtemp(prefix="seestack-chromium-"))
    try:
        with start_chromium(profile) as driver:
            yield driver
    finally:
        shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="session")
def site(chrome: Chrome, create_database: Callable[[], str]) -> Iterator[tuple[RunningServer, Keys]]:
    """A server with pages, and keys to a project with traffic, one with hostile telemetry, and one without any."""
    url = create_database()
    with start_server(url, "--query-workers", "1") as server:
        hostile, empty = create_key(url), create_key(url)
        _send(server, (server.project_id, server.api_key), ordinary_items())
        _send(server, hostile, hostile_items())
        keys = [create_key(url, project, scope=Scope.READ)[1] for project in (server.project_id, hostile[0], empty[0])]
        yield server, Keys(*keys)


@pytest.fixture(scope="session")
def keys(site: tuple[RunningServer, Keys]) -> Keys:
    """The keys of the server."""
    return site[1]


@pytest.fixture
def browser(chrome: Chrome, site: tuple[RunningServer, Keys]) -> Browser:
    """The browser at the server, with nothing of the tests before; nobody is logged in."""
    begun = Browser(chrome, site[0])
    begun.begin()
    return begun


@pytest.fixture
def reader(browser: Browser, keys: Keys) -> Browser:
    """The browser of somebody who is logged in to the project with traffic."""
    browser.log_in(keys.ordinary)
    return browser


@pytest.fixture
def admin(browser: Browser) -> Browser:
    """The browser of an administrator."""
    browser.log_in_as_admin()
    return browser


def _send(server: RunningServer, key: tuple[str, str], items: list[dict[str, object]]) -> None:
    project_id, api_key = key
    for begin in range(0, len(items), 100):
        batch = {"projectId": project_id, "requests": items[begin : begin + 100]}
        answer = server.post(batch, X_SeeStack_Key=api_key)
        assert answer.status == 202, answer.body
