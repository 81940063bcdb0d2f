"""What the tests with hostile inputs share."""

from collections.abc import Callable, Iterator

import pytest

from tests.fuzz.server import start_fuzzed_server
from tests.running_server import RunningServer


@pytest.fixture(scope="session")
def fuzzed_server(create_database: Callable[[], str]) -> Iterator[RunningServer]:
    """A server that gets hostile inputs only."""
    with start_fuzzed_server(create_database()) as running:
        yield running
