"""A visitor of the pages: cookies, forms and redirects as a browser has them, without a browser."""

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import Morsel, SimpleCookie
from random import randrange
from urllib.parse import urlencode

from server.access import login_links
from tests.patience import PATIENCE_S
from tests.running_server import Answer, RunningServer

_TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]+)"')


@dataclass
class Visitor:
    """Somebody at a server's pages, with the cookies that it has set."""

    server: RunningServer
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookies: dict[str, "Morsel[str]"] = field(default_factory=dict)  # as they were set the last time
    # Each comes from an address of its own, since tries to log in are counted by address.
    address: str = field(default_factory=lambda: f"127.{randrange(1, 255)}.{randrange(255)}.{randrange(1, 255)}")

    def get(self, path: str, **headers: str) -> Answer:
        """Get a page, without going where it sends."""
        return self._request("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form as it is."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self._request("POST", path, urlencode(fields).encode(), sent)

    def submit(self, page: str, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form of a page, with the token that it has there."""
        return self.post(path, {"csrf_token": token_in(self.get(page)), **fields}, **headers)

    def log_in(self, key: str, wanted: str = "") -> Answer:
        """Type a key into the login page."""
        return self.submit("/login", "/login", {"key": key, "next": wanted})

    def _request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server.http_port, timeout=PATIENCE_S, source_address=(self.address, 0)
        )
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            self._keep_cookies(response.headers.get_all("Set-Cookie", []))
        finally:
            connection.close()
        return answer

    def _keep_cookies(self, set_cookies: list[str]) -> None:
        for line in set_cookies:
            for name, morsel in SimpleCookie(line).items():
                self.set_cookies[name] = morsel
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value


def token_in(page: Answer) -> str:
    """Return the token that the forms of a page carry."""
    found = _TOKEN.search(page.body.decode())
    assert found, page.body
    return found[1]


def make_link(server: RunningServer) -> str:
    """Return the path and query of a new link that logs an administrator in."""
    return login_links.make_link(server.log.parent, "")
