"""The server that inputs are sent to."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.fuzz.identity import PROJECT_ID, RAW_KEY, create_identity
from tests.running_server import RunningServer, create_key, start_server


@contextmanager
def start_fuzzed_server(database_url: str) -> Iterator[RunningServer]:
    """Run a server that knows the inputs' project and key, and another project besides."""
    create_key(database_url)
    create_identity(database_url)
    with start_server(database_url, key=(PROJECT_ID, RAW_KEY)) as server:
        yield server
