"""Addresses where nothing is: a page for browsers, the envelope for clients of the API."""

import pytest

from http_bridge.pages.safety import SECURITY_HEADERS
from tests.contract.envelope import assert_envelope
from tests.pages.browsing import Page
from tests.pages.visitor import Visitor

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PATHS = ["/nowhere", "/keys/", "/<b>", "/favicon.ico"]


@pytest.mark.parametrize("path", PATHS[:3])
def test_a_browser_gets_a_page(visitor: Visitor, reader: Visitor, path: str) -> None:
    for each, link in ((Visitor(visitor.server), "/login"), (reader, "/")):
        answer = each.get(path, Accept=BROWSER)
        page = Page(answer)
        assert (answer.status, page.all("a", href=link) != []) == (404, True)
        assert "<b>" not in page.html.partition("<main")[2]
        assert {name: answer.headers[name.lower()] for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize(("path", "accept"), [*((path, "*/*") for path in PATHS), ("/api/v1/nothing", BROWSER)])
def test_others_get_the_envelope(visitor: Visitor, path: str, accept: str) -> None:
    assert_envelope(visitor.get(path, Accept=accept), 404, "NOT_FOUND", "Not found")
