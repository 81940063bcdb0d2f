"""`python -m bench.screenshots`: takes a picture of each page in both themes, from the story of `make data`.

It starts servers of its own in temporary folders, and needs Chromium and its driver. The pictures are
docs/pages/NAME-THEME.png.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.browser import WIDTH, Browser, browsing
from bench.month_story import project_names

FOLDER = Path(__file__).parent.parent / "docs" / "pages"
COMMAND = str(Path(sys.executable).with_name("seestack-ingest"))
ROWS = 200_000
PHONE_WIDTH = 360
THEMES = ("light", "dark")
START_TIMEOUT_S = 120.0
SETTLE_S = 1.0  # for what scripts add when a page has loaded


def main() -> None:
    """Take all pictures."""
    FOLDER.mkdir(exist_ok=True)
    with temporary_folder() as data:
        subprocess.run(
            (sys.executable, "-m", "bench.month", str(ROWS)), check=True, env=environment(data), capture_output=True
        )
        with serving(data) as address, browsing() as browser:
            browser.visit(login_link(data, address))
            take_traffic(browser, data, address)
            take(browser, "keys", f"{address}/keys", 1000)
            take(browser, "health", f"{address}/health", 820)
    with temporary_folder() as data, serving(data) as address, browsing() as browser:
        browser.visit(login_link(data, address))
        take(browser, "start", f"{address}/", 680)


def take(browser: Browser, name: str, address: str, height: int, width: int = WIDTH) -> None:
    """Take pictures of a page, one in each theme."""
    browser.be(width, height)
    for theme in THEMES:
        browser.prefer(theme)
        browser.visit(address)
        time.sleep(SETTLE_S)
        file = FOLDER / f"{name}-{theme}.png"
        file.write_bytes(browser.picture())
        print(f"{file.name}: {file.stat().st_size // 1000} kB")


def take_traffic(browser: Browser, data: Path, address: str) -> None:
    """Take pictures of the pages of a project that has traffic."""
    key = run("keys", "create", "--project", project_names()[0], "--scope", "read", "--json", data=data)
    ask = Asking(address, json.loads(key)["apiKey"])
    failed = ask("", statusGroup="5xx", direction="inbound", perPage=20)["items"]
    item = failed[0]
    longest = max((each["traceId"] for each in failed), key=lambda trace: len(ask("/by-trace", traceId=trace)["items"]))
    [endpoint, *_] = ask("/top-endpoints", direction="inbound", sort="requests")["items"]
    group = {"direction": "inbound", "method": endpoint["method"], "host": endpoint["host"]}
    chosen = with_query(f"{address}/explorer", range="7d", item=item["id"], at=item["timestamp"])
    take(browser, "overview", f"{address}/?range=7d", 900)
    take(browser, "explorer", chosen, 900)
    take(
        browser, "endpoint", with_query(f"{address}/endpoint", range="7d", **group, endpoint=endpoint["endpoint"]), 900
    )
    take(browser, "host", with_query(f"{address}/host", range="7d", direction="inbound", host=endpoint["host"]), 900)
    take(browser, "trace", f"{address}/trace/{longest}", 640)
    take(browser, "live", f"{address}/live", 640)
    take(browser, "phone", f"{address}/?range=7d", 780, width=PHONE_WIDTH)
    take(browser, "phone-explorer", f"{address}/explorer?range=7d&statusGroup=5xx", 1400, width=PHONE_WIDTH)
    take(browser, "phone-trace", f"{address}/trace/{longest}", 780, width=PHONE_WIDTH)
    take(browser, "phone-live", f"{address}/live", 1000, width=PHONE_WIDTH)


class Asking:
    """Asks a server's queries with a raw key."""

    def __init__(self, address: str, key: str) -> None:
        self._root = f"{address}/api/v1/http-requests"
        self._key = key

    def __call__(self, path: str, **parameters: object) -> Any:
        """Return what an answer has in `data`."""
        request = urllib.request.Request(
            with_query(self._root + path, **parameters), headers={"X-SeeStack-Key": self._key}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["data"]


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A short-named folder, which the user that Postgres runs as can reach."""
    with tempfile.TemporaryDirectory(prefix="seestack-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextmanager
def serving(data: Path) -> Iterator[str]:
    """Run a server on a data folder, and give its address."""
    log = data / "log"
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    with log.open("w") as output:
        process = subprocess.Popen((COMMAND, "serve", *ports), env=environment(data), stdout=output, stderr=output)
    try:
        yield wait_for_address(log)
    finally:
        process.terminate()
        process.wait()


def wait_for_address(log: Path) -> str:
    """Return where HTTP is served, once the log says so."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if '"serving"' in line and line.endswith("}"):
                return f"http://{json.loads(line)['http']}"
        time.sleep(0.1)
    sys.exit(f"the server did not start:\n{log.read_text()}")


def login_link(data: Path, address: str) -> str:
    """Return a link that logs in."""
    return run("pages", "link", "--http-port", address.rpartition(":")[2], data=data).strip()


def run(*arguments: str, data: Path) -> str:
    """Return what a command prints."""
    done = subprocess.run((COMMAND, *arguments), env=environment(data), check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout


def environment(data: Path) -> Mapping[str, str]:
    """Return the environment of a command that uses a data folder."""
    return {**os.environ, "SEESTACK_DATA_DIR": str(data)}


def with_query(address: str, **parameters: object) -> str:
    """Return an address with parameters."""
    return f"{address}?{urlencode(parameters)}" if parameters else address


if __name__ == "__main__":
    main()
