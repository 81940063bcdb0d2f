"""One server with two projects of random rows, which the tests of queries share and leave as they are."""

import random
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from tests.query.asking import Asking
from tests.query.data import random_item
from tests.query.model import Rows
from tests.running_server import RunningServer, create_key, start_server

ROWS = 600


@pytest.fixture(scope="session")
def filled(create_database: Callable[[], str]) -> Iterator[tuple[RunningServer, Rows]]:
    """A server that answers queries, and the rows that its own project has to begin with; another one has some, too."""
    url = create_database()
    with start_server(url, "--query-workers", "1", "--pages", "off") as server:
        other = create_key(url)
        items = random.Random(11)
        for project_id, api_key in ((server.project_id, server.api_key), other):
            for _ in range(ROWS // 100):
                batch = {"projectId": project_id, "requests": [random_item(items) for _ in range(100)]}
                assert server.post(batch, X_SeeStack_Key=api_key).status == 202
        own = UUID(server.project_id)
        yield server, Rows(row for row in server.rows() if row["project_id"] == own)


@pytest.fixture(scope="session")
def query_server(filled: tuple[RunningServer, Rows]) -> RunningServer:
    """A server that answers queries; its own project, and another one, have rows."""
    return filled[0]


@pytest.fixture(scope="session")
def rows(filled: tuple[RunningServer, Rows]) -> Rows:
    """The rows of the server's own project, as they were before any test added some."""
    return filled[1]


@pytest.fixture(scope="session")
def asking(query_server: RunningServer) -> Asking:
    """Asks the server, over both protocols, with a key to read its project."""
    channel = query_server.channel()
    return Asking(query_server, channel, Asking(query_server, channel, None).create_key())
