"""What the tests of the gRPC server share."""

from collections.abc import Iterator

import pytest

from tests.http2.client import Http2Client
from tests.http2.serving import Serving, serve


@pytest.fixture(scope="session")
def serving() -> Iterator[Serving]:
    """A server for tests that leave it as it was."""
    with serve() as running:
        yield running


@pytest.fixture
def client(serving: Serving) -> Iterator[Http2Client]:
    """A connection to it."""
    with Http2Client(serving.port) as connected:
        yield connected
