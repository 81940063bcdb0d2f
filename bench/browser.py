"""Chromium without a window, driven by WebDriver."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

WIDTH = 1200
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
TIMEOUT_S = 60.0

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_LOADED_MS = "return performance.getEntriesByType('navigation')[0].loadEventEnd"


class Browser:
    """What is done with it."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    def visit(self, address: str) -> None:
        """Load a page."""
        self._driver.get(address)

    def be(self, width: int, height: int) -> None:
        """Have a size, in CSS pixels; a narrow one is that of a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < WIDTH}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, theme: str) -> None:
        """Prefer a theme, light or dark."""
        preferred = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", preferred)

    def picture(self) -> bytes:
        """Return what is seen, as PNG."""
        return self._driver.get_screenshot_as_png()

    def type(self, selector: str, text: str) -> None:
        """Type into the first element of a CSS selector."""
        self._driver.find_element(By.CSS_SELECTOR, selector).send_keys(text)

    def click(self, selector: str) -> float:
        """Click the first element of a CSS selector, and return how many milliseconds the next page took to load.

        They count from the click on, until the page has its styles and pictures and its scripts have run.
        """
        before = self._driver.find_element(By.TAG_NAME, "html")
        self._driver.find_element(By.CSS_SELECTOR, selector).click()
        wait = WebDriverWait(self._driver, TIMEOUT_S)
        wait.until(lambda driver: driver.find_element(By.TAG_NAME, "html") != before)
        return float(wait.until(lambda driver: self._loaded_ms(driver)))

    @staticmethod
    def _loaded_ms(driver: Any) -> Any:
        return driver.execute_script(_LOADED_MS)  # 0 while it loads


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run a browser. Ends this process if there is none."""
    if missing := [program for program in (CHROMIUM, DRIVER) if not Path(program).exists()]:
        sys.exit(f"{' and '.join(missing)} missing: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in _FLAGS:
        options.add_argument(flag)
    driver = Chrome(options, ChromeService(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
