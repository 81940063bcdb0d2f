"""What the tests of the HTTP server share."""

from collections.abc import Iterator

import pytest

from tests.http.raw_client import RawClient
from tests.running_server import RunningServer


@pytest.fixture
def client(server: RunningServer) -> Iterator[RawClient]:
    """A connection to the shared server."""
    with RawClient(server.http_port) as connected:
        yield connected
