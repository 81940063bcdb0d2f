"""Requests as they arrive, and the page of a project without any."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from storage.database import connect
from storage.keys.api_keys import Scope, list_keys, revoke_key
from tests.batches import make_batch, make_item
from tests.pages.browsing import Browsing
from tests.pages.conftest import log_in
from tests.pages.visitor import Visitor, make_link
from tests.patience import PATIENCE_S
from tests.running_server import RunningServer, create_key


class Events:
    """The events of a response that does not end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response

    def line(self) -> str:
        return self.response.readline().decode().rstrip("\n")

    def until_the_end(self) -> list[str]:
        """Return all lines that still come."""
        lines = []
        deadline = time.monotonic() + PATIENCE_S
        while line := self.response.readline():
            assert time.monotonic() < deadline, "it does not end"
            lines.append(line.decode().rstrip("\n"))
        return lines

    def next(self) -> dict[str, Any]:
        """Return the data of the next event."""
        while not (line := self.line()).startswith("data: "):
            pass
        data: dict[str, Any] = json.loads(line.removeprefix("data: "))
        return data


@contextmanager
def following(browsing: Browsing, query: str = "") -> Iterator[Events]:
    """Follow a project's requests from now on."""
    visitor = browsing.visitor
    connection = http.client.HTTPConnection("127.0.0.1", visitor.server.http_port, timeout=PATIENCE_S)
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    connection.request("GET", f"/live/events{query}", headers={"Cookie": cookie})
    response = connection.getresponse()
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    events = Events(response)
    assert events.line() == ": following"
    try:
        yield events
    finally:
        connection.close()


@pytest.fixture(scope="module")
def sending(pages_server: RunningServer) -> tuple[str, str]:
    """A project of these tests, and a key to send."""
    return create_key(pages_server.database_url)


@pytest.fixture(scope="module")
def watching(pages_server: RunningServer, sending: tuple[str, str]) -> Browsing:
    return log_in(pages_server, sending[0])


def send(server: RunningServer, sending: tuple[str, str], **changes: Any) -> None:
    batch = {"projectId": sending[0], "requests": [make_item(**changes)]}
    assert server.post(batch, X_SeeStack_Key=sending[1]).status == 202


def revoke_read_keys(server: RunningServer, project_id: str) -> None:
    with connect(server.database_url) as connection:
        for key in list_keys(connection, UUID(project_id)):
            if key.scope == Scope.READ:
                revoke_key(connection, key)


def test_requests_come_as_rows_that_are_text(
    pages_server: RunningServer, sending: tuple[str, str], watching: Browsing
) -> None:
    with following(watching) as events:
        send(pages_server, sending, host="<b>bold</b>", path="/live")
        event = events.next()
    assert (event["count"], event["dropped"]) == (1, 0)
    assert "&lt;b&gt;bold&lt;/b&gt;" in event["html"]
    assert "<b>bold" not in event["html"]


def test_filters_select_what_is_followed(
    pages_server: RunningServer, sending: tuple[str, str], watching: Browsing
) -> None:
    with following(watching, "?statusGroup=failed&host=&range=1h") as events:
        send(pages_server, sending, path="/good")
        send(pages_server, sending, path="/bad", statusCode=503)
        assert "/bad" in events.next()["html"]


def test_what_does_not_fit_is_counted(
    pages_server: RunningServer, sending: tuple[str, str], watching: Browsing
) -> None:
    with following(watching, "?host=many.example.com") as events:
        batch = make_batch(sending[0], 100, host="many.example.com")
        assert pages_server.post(batch, X_SeeStack_Key=sending[1]).status == 202
        event = events.next()
    assert (event["count"], event["dropped"]) == (50, 50)


def test_it_ends_when_the_session_or_its_key_does(pages_server: RunningServer) -> None:
    project_id, _ = create_key(pages_server.database_url)
    by_logout, by_key = log_in(pages_server, project_id), log_in(pages_server, project_id)
    with following(by_logout) as first, following(by_key) as second:
        assert by_logout.visitor.submit("/", "/logout", {}).status == 303
        assert not [line for line in first.until_the_end() if line.startswith("data")]
        revoke_read_keys(pages_server, project_id)
        assert not [line for line in second.until_the_end() if line.startswith("data")]
    assert [each.get("/live/events").status for each in (by_logout, by_key)] == [303, 303]


def test_wrong_filters_are_refused(watching: Browsing) -> None:
    assert watching.see("/live", 422, statusGroup="x").all("section", role="alert")
    assert watching.get("/live/events", {"minDurationMs": "x"}).status == 422


def test_without_scripts_the_last_requests_are_there(
    pages_server: RunningServer, sending: tuple[str, str], watching: Browsing
) -> None:
    send(pages_server, sending, path="/before", timestamp=datetime.now(UTC).isoformat())
    page = watching.see("/live", path="/before")
    assert "/before" in page.text
    assert page.all("noscript")
    assert page.all("div", data_events="/live/events?path=%2Fbefore")


def test_a_reader_of_an_empty_project_sees_how_to_begin_but_no_key(empty: Browsing) -> None:
    page = empty.see("/")
    assert "YOUR_KEY" in page.html
    assert "/ingest/v1/http-requests" in page.text
    assert "grpcurl -plaintext" in page.text


def test_a_host_header_of_any_form_is_text(empty: Browsing) -> None:
    page = empty.visitor.get("/", Host="x`touch /tmp/y`<b>")
    assert page.status == 200
    assert b"touch" not in page.body


def test_an_administrator_gets_commands_to_paste(pages_server: RunningServer) -> None:
    administrator = Visitor(pages_server)
    administrator.get(make_link(pages_server))
    page = administrator.get("/")
    assert page.status == 200
