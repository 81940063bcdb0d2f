"""One server with two projects of random rows, which the tests of queries share and leave as they are."""

import random
from collections.abc import Callable, Iterator

import pytest

from storage.database import connect
from storage.keys.api_keys import Scope
from storage.keys.projects import find_project
from tests.query.asking import Asking
from tests.query.data import random_item
from tests.running_server import RunningServer, create_key, start_server

ROWS = 600


@pytest.fixture(scope="session")
def query_server(create_database: Callable[[], str]) -> Iterator[RunningServer]:
    """A server that answers queries; its own project, and another one, have rows."""
    url = create_database()
    with start_server(url, "--query-workers", "1") as server:
        other = create_key(url)
        items = random.Random(11)
        for project_id, api_key in ((server.project_id, server.api_key), other):
            for _ in range(ROWS // 100):
                batch = {"projectId": project_id, "requests": [random_item(items) for _ in range(100)]}
                assert server.post(batch, X_SeeStack_Key=api_key).status == 202
        yield server


@pytest.fixture(scope="session")
def asking(query_server: RunningServer) -> Asking:
    """Asks the server, over both protocols, with a key to read its project."""
    with connect(query_server.database_url) as connection:
        name = find_project(connection, query_server.project_id).name
    _, read_key = create_key(query_server.database_url, name, scope=Scope.READ)
    return Asking(query_server, query_server.channel(), read_key)
