"""Keys that are bound to origins: for pages of these, and for nobody else."""

import json
from uuid import UUID

import grpc
import pytest

from storage.database import connect
from storage.keys.api_keys import create_key
from tests.batches import make_batch
from tests.contract.envelope import assert_envelope
from tests.grpc_client import ReflectingClient, Refusal
from tests.running_server import RunningServer

ORIGINS = ("https://app.example.com", "http://localhost:3000")
REFUSED = (401, "INVALID_API_KEY", "Invalid or missing API key")


@pytest.fixture(scope="module")
def bound_key(server: RunningServer) -> str:
    with connect(server.database_url) as connection:
        return create_key(connection, UUID(server.project_id), "page", origins=ORIGINS)[1]


@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_its_origins_may_use_a_key(server: RunningServer, bound_key: str, origin: str) -> None:
    answer = server.post(make_batch(server.project_id), X_SeeStack_Key=bound_key, Origin=origin)
    assert answer.status == 202
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "null"}, {"Origin": "https://evil.example.com"}, {"Origin": "https://app.example.com.evil.com"}],
)
def test_everyone_else_is_refused_as_with_a_wrong_key(
    server: RunningServer, bound_key: str, headers: dict[str, str]
) -> None:
    assert_envelope(server.post(make_batch(server.project_id), X_SeeStack_Key=bound_key, **headers), *REFUSED)


def test_a_call_over_grpc_needs_the_origin_too(server: RunningServer, client: ReflectingClient, bound_key: str) -> None:
    with pytest.raises(Refusal) as raised:
        client.ingest(make_batch(server.project_id), {"x-seestack-key": bound_key})
    assert raised.value.status is grpc.StatusCode.UNAUTHENTICATED
    metadata = {"x-seestack-key": bound_key, "origin": ORIGINS[0]}
    assert client.ingest(make_batch(server.project_id), metadata)["accepted"] == 1


def test_a_key_without_origins_is_for_all(server: RunningServer) -> None:
    assert json.loads(server.post(make_batch(server.project_id), Origin="https://evil.example.com").body)["ok"]
