"""Who may send: keys on both protocols, checked before anything else of a request."""

from datetime import timedelta
from typing import Any

import grpc
import psycopg
import pytest

from storage.keys.api_keys import Scope
from tests.batches import make_batch
from tests.contract.envelope import assert_envelope
from tests.grpc_client import SERVICE, ReflectingClient, Refusal
from tests.patience import PATIENCE_S
from tests.running_server import INGEST_PATH, RunningServer, create_key, run_command

REFUSED = (401, "INVALID_API_KEY", "Invalid or missing API key")


@pytest.fixture(scope="session")
def wrong_keys(server: RunningServer) -> dict[str, str | None]:
    """One key of every kind that is refused; None is none at all."""
    project = f"wrong-keys-{server.project_id}"
    run_command("projects", "create", project, database_url=server.database_url)
    revoked = create_key(server.database_url, project)[1]
    run_command("keys", "revoke", revoked[:20], database_url=server.database_url)
    expired = create_key(server.database_url, project, timedelta(days=1))[1]
    with psycopg.connect(server.database_url) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now() WHERE prefix = %s", (expired[:20],))
    return {
        "missing": None,
        "empty": "",
        "blank": "  ",
        "cut off": server.api_key[:-1],
        "of the wrong case": server.api_key.upper(),
        "text": "password",
        "not ASCII": "schlüssel",
        "never issued": "seestack_live_0000000000000000000000004Gg0Vn",
        "revoked": revoked,
        "expired": expired,
        "to read": create_key(server.database_url, project, scope=Scope.READ)[1],
    }


KINDS = ["missing", "empty", "blank", "cut off", "of the wrong case", "text", "not ASCII", "never issued", "revoked",
         "expired", "to read"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b"not json", b""])
def test_http_refuses_a_wrong_key_before_it_reads_the_body(
    server: RunningServer, wrong_keys: dict[str, str | None], kind: str, body: bytes
) -> None:
    key = wrong_keys[kind]
    headers = {} if key is None else {"X-SeeStack-Key": key}
    assert_envelope(server.request("POST", INGEST_PATH, body, headers), *REFUSED)


@pytest.mark.parametrize("size", [10**6, 10**7])
def test_a_refusal_reaches_a_client_that_sends_a_large_body(server: RunningServer, size: int) -> None:
    for _ in range(5):
        assert_envelope(server.request("POST", INGEST_PATH, b"x" * size), *REFUSED)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "not ASCII"])
def test_grpc_refuses_a_wrong_key_before_it_reads_the_message(
    server: RunningServer, wrong_keys: dict[str, str | None], kind: str
) -> None:
    client = ReflectingClient(server.channel())
    key = wrong_keys[kind]
    metadata = {} if key is None else {"x-seestack-key": key}
    for send in (
        lambda: client.ingest_bytes(b"\xff\xff", metadata),
        lambda: client.ingest(make_batch(server.project_id), metadata),
        lambda: client.stream([make_batch(server.project_id)], metadata),
        lambda: client.stream([], metadata),
    ):
        with pytest.raises(Refusal) as raised:
            send()
        assert raised.value.status is grpc.StatusCode.UNAUTHENTICATED
        assert (raised.value.message, raised.value.reason) == ("Invalid or missing API key", "INVALID_API_KEY")


def test_two_keys_are_no_key_over_grpc_either(server: RunningServer) -> None:
    call: Any = server.channel().unary_unary(f"/{SERVICE}/IngestHttpRequests")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", metadata=(("x-seestack-key", server.api_key),) * 2, timeout=PATIENCE_S)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_key_is_good_for_its_own_project_only(server: RunningServer) -> None:
    other_project, other_key = create_key(server.database_url)
    batch = make_batch(server.project_id)
    assert server.post(batch, X_SeeStack_Key=other_key).json["error"]["details"] == {
        "projectId": "must match the project of the API key"
    }
    assert server.rows(batch["requests"][0]["traceId"]) == []
    own = make_batch(other_project)
    assert server.post(own, X_SeeStack_Key=other_key).status == 202
    assert [str(row["project_id"]) for row in server.rows(own["requests"][0]["traceId"])] == [other_project]


def test_a_new_key_works_at_once(server: RunningServer) -> None:
    for _ in range(3):
        project_id, key = create_key(server.database_url)
        assert server.post(make_batch(project_id), X_SeeStack_Key=key).status == 202


@pytest.mark.parametrize("header", [{"X-AllStak-Key": "{}"}, {"Authorization": "Bearer {}"}])
def test_strict_takes_the_key_from_its_own_header_only(server: RunningServer, header: dict[str, str]) -> None:
    headers = {name: value.format(server.api_key) for name, value in header.items()}
    assert_envelope(server.request("POST", INGEST_PATH, b"{}", headers), *REFUSED)
