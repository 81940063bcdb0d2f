"""A real browser at a server's pages: Chromium without a window, driven by WebDriver."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.pages.visitor import make_link
from tests.patience import PATIENCE_S
from tests.running_server import RunningServer

CHROMIUM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTH, HEIGHT, PHONE_WIDTH = 1280, 900, 360
THEMES = ("light", "dark")
# What axe calls worse than "moderate".
GRAVE = ("serious", "critical")

_AXE = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_RUN_AXE = "axe.run(document, {resultTypes: ['violations']}).then(arguments[0], e => arguments[0](String(e)))"


@contextmanager
def start_chromium(profile: Path) -> Iterator[Chrome]:
    """Run a browser with an empty profile, and end it."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = Chrome(options, ChromeService(str(DRIVER)))
    try:
        driver.set_page_load_timeout(PATIENCE_S)
        driver.set_script_timeout(PATIENCE_S)
        yield driver
    finally:
        driver.quit()


class Browser:
    """What a person does with a browser at one server."""

    def __init__(self, driver: Chrome, server: RunningServer) -> None:
        self.driver = driver
        self.server = server
        self.url = f"http://127.0.0.1:{server.http_port}"

    def begin(self) -> None:
        """Forget all that was before: cookies, what is stored, messages, theme and size."""
        self.driver.get(f"{self.url}/healthz")
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": self.url, "storageTypes": "all"})
        self.be(width=WIDTH, theme="light")
        self.messages()

    def be(self, *, width: int = WIDTH, theme: str = "light") -> None:
        """Have that width, in CSS pixels, and prefer that theme."""
        metrics = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < WIDTH}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        preferred = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", preferred)

    def open(self, path: str) -> None:
        """Get a page, and wait until it is loaded."""
        self.driver.get(self.url + path)

    def log_in(self, key: str) -> None:
        """Type a key into the login page."""
        self.open("/login")
        self.find("#key").send_keys(key)
        self.press("Log in")

    def log_in_as_admin(self) -> None:
        """Follow a new link."""
        self.open(make_link(self.server))

    @property
    def path(self) -> str:
        """Path and query of the page that is shown."""
        return self.driver.current_url.removeprefix(self.url)

    @property
    def text(self) -> str:
        """What a person can read on the page."""
        return self.find("body").text

    def find(self, selector: str) -> WebElement:
        """Return the first element of a CSS selector, once it is there."""
        return WebDriverWait(self.driver, PATIENCE_S).until(lambda _: self.all(selector))[0]

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements of a CSS selector that are there now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def press(self, label: str) -> None:
        """Press the button with that label and wait until another page has come."""
        before = self.find("html")
        self.driver.find_element(By.XPATH, f"//button[normalize-space()='{label}']").click()
        WebDriverWait(self.driver, PATIENCE_S).until(lambda _: self.find("html") != before)
        self.wait("document.readyState === 'complete'")

    def wait(self, condition: str) -> None:
        """Wait until a condition in JavaScript holds."""
        WebDriverWait(self.driver, PATIENCE_S).until(lambda _: self.run(f"return {condition}"))

    def run(self, script: str) -> Any:
        """Return what a script in the page returns."""
        return self.driver.execute_script(script)

    def messages(self) -> list[str]:
        """Return what the console says since this was asked the last time: errors, and what was blocked."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        root = "document.documentElement"
        return int(self.run(f"return {root}.scrollWidth - {root}.clientWidth"))

    def grave_violations(self) -> list[str]:
        """Return what axe finds that keeps people out, with the elements that it is about."""
        self.run(f"if (!window.axe) {{ {_AXE} }}")
        result = self.driver.execute_async_script(_RUN_AXE)
        assert isinstance(result, dict), result
        return [
            f"{violation['id']}: {json.dumps([node['html'] for node in violation['nodes']][:5])}"
            for violation in result["violations"]
            if violation["impact"] in GRAVE
        ]

    def check(self, path: str) -> None:
        """Open a page in both themes and at a phone's width; it must be quiet, fit, and keep nobody out."""
        for theme in THEMES:
            self.be(theme=theme)
            self.open(path)
            assert (path, theme, self.overflow(), self.grave_violations()) == (path, theme, 0, [])
        self.be(width=PHONE_WIDTH)
        self.open(path)
        assert (path, self.overflow(), self.messages()) == (path, 0, [])
        self.be()
