"""A server with several projects on a database that is distributed over two nodes."""

from collections.abc import Iterator

import pytest

from tests.citus.cluster import Cluster
from tests.citus.sending import Sender, make_senders
from tests.citus.shards import placement_of
from tests.running_server import RunningServer, start_server

PROJECTS = 6


@pytest.fixture(scope="session")
def distributed_server(citus: Cluster) -> Iterator[RunningServer]:
    """A server, shared: to distribute a database takes some seconds."""
    with start_server(citus.create_database()) as server:
        yield server


@pytest.fixture
def senders(distributed_server: RunningServer) -> list[Sender]:
    """What sends, for projects that are on both nodes."""
    senders = make_senders(distributed_server, PROJECTS)
    placement = placement_of(distributed_server.database_url)
    while len({placement.shard_of(sender.project_number).node for sender in senders}) == 1:
        senders += make_senders(distributed_server, 1)
    return senders
