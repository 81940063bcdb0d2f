"""A server with pages, which the tests share; a project of it has traffic."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.keys.api_keys import Scope
from tests.batches import make_item
from tests.pages.browsing import Browsing
from tests.pages.visitor import Visitor, make_link
from tests.running_server import RunningServer, create_key, start_server

HOSTILE = '<script>alert("x")</script>'
TURNED = "abc\u202edef"
LONG_PATH = "/long/" + "x" * 8180


def traffic(now: datetime) -> list[dict[str, Any]]:
    """Return what the project has received: some hours of it, three hosts, failures, hostile text."""
    items = [
        make_item(
            direction="inbound" if number % 2 else "outbound",
            method="GET" if number % 3 else "POST",
            host="api.example.com" if number % 2 else "db.internal",
            path=f"/orders/{number}",
            statusCode=500 if number % 10 == 0 else 200,
            durationMs=number,
            userId=f"usr_{number % 5}",
            traceId=f"trace-{number // 4}",
            timestamp=(now - timedelta(minutes=number)).isoformat(),
        )
        for number in range(1, 201)
    ]
    hostile = {"timestamp": (now - timedelta(minutes=2)).isoformat(), "direction": "inbound"}
    return [
        *items,
        make_item(host=HOSTILE, path=f"/{HOSTILE}", userId=HOSTILE, traceId=f"{HOSTILE}/../", **hostile),
        make_item(host=TURNED, path=f"/{TURNED}", userId=TURNED, statusCode=0, **hostile),
        make_item(host="long.example.com", path=LONG_PATH, durationMs=2**40, requestSize=2**62, **hostile),
        make_item(host="never.example.com", timestamp="9999-12-31T23:59:59Z"),
        make_item(host="never.example.com", timestamp="0001-01-01T00:00:00Z"),
    ]


@pytest.fixture(scope="session")
def pages_server(create_database: Callable[[], str]) -> Iterator[RunningServer]:
    """A server with pages, whose requests go to either of two workers."""
    with start_server(create_database(), "--query-workers", "1", "--http-workers", "2") as server:
        yield server


@pytest.fixture(scope="session")
def read_key(pages_server: RunningServer) -> str:
    """A key to read the server's project, which no test revokes."""
    return create_key(pages_server.database_url, pages_server.project_id, scope=Scope.READ)[1]


@pytest.fixture
def visitor(pages_server: RunningServer) -> Visitor:
    """Somebody who is not logged in."""
    return Visitor(pages_server)


@pytest.fixture
def reader(visitor: Visitor, read_key: str) -> Visitor:
    """Somebody who is logged in with a read key."""
    assert visitor.log_in(read_key).status == 303
    return visitor


@pytest.fixture
def admin(visitor: Visitor) -> Visitor:
    """Somebody who is logged in as an administrator."""
    assert visitor.get(make_link(visitor.server)).status == 303
    return visitor


@pytest.fixture(scope="session")
def browsing(pages_server: RunningServer) -> Browsing:
    """Somebody who is logged in to a project with traffic."""
    project_id, api_key = create_key(pages_server.database_url)
    items = traffic(datetime.now(UTC))
    for begin in range(0, len(items), 100):
        batch = {"projectId": project_id, "requests": items[begin : begin + 100]}
        assert pages_server.post(batch, X_SeeStack_Key=api_key).status == 202
    return log_in(pages_server, project_id)


@pytest.fixture(scope="session")
def empty(pages_server: RunningServer) -> Browsing:
    """Somebody who is logged in to a project without any."""
    return log_in(pages_server, create_key(pages_server.database_url)[0])


def log_in(server: RunningServer, project_id: str) -> Browsing:
    """Return somebody who is logged in to a project."""
    visitor = Visitor(server)
    assert visitor.log_in(create_key(server.database_url, project_id, scope=Scope.READ)[1]).status == 303
    return Browsing(visitor)
