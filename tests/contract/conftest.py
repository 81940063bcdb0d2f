"""What the tests of the contract share: a gRPC client and what it sends with each call."""

import pytest

from tests.grpc_client import ReflectingClient
from tests.running_server import RunningServer


@pytest.fixture(scope="session")
def client(server: RunningServer) -> ReflectingClient:
    return ReflectingClient(server.channel())


@pytest.fixture
def metadata(server: RunningServer) -> dict[str, str]:
    return {"x-seestack-key": server.api_key}
