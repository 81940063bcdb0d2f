"""SEESTACK_CONTRACT=lenient: what older SDKs send is taken, and nothing else is looser."""

import json
from uuid import UUID

import grpc
import pytest

from tests.batches import make_batch, make_item
from tests.grpc_client import ReflectingClient, Refusal
from tests.running_server import INGEST_PATH, RunningServer

KEY_HEADERS = [{"X-SeeStack-Key": "{}"}, {"X-AllStak-Key": "{}"}, {"Authorization": "Bearer {}"},
               {"authorization": "bearer {}"}]  # fmt: skip


def test_project_and_sizes_may_be_left_out(lenient_server: RunningServer) -> None:
    item = make_item(requestSize=..., responseSize=...)
    client = ReflectingClient(lenient_server.channel())
    assert lenient_server.post({"requests": [item]}).status == 202
    assert client.ingest({"requests": [item]}, {"x-seestack-key": lenient_server.api_key})["accepted"] == 1
    rows = lenient_server.rows(item["traceId"])
    assert len(rows) == 2
    for row in rows:
        assert (row["request_size"], row["response_size"]) == (0, 0)
        assert row["project_id"] == UUID(lenient_server.project_id)


@pytest.mark.parametrize("header", KEY_HEADERS)
def test_the_key_may_come_in_older_headers(lenient_server: RunningServer, header: dict[str, str]) -> None:
    headers = {name: value.format(lenient_server.api_key) for name, value in header.items()}
    body = make_batch(lenient_server.project_id)
    sent = {"Content-Type": "application/json", **headers}
    assert lenient_server.request("POST", INGEST_PATH, json.dumps(body).encode(), sent).status == 202
    metadata = {name.lower(): value for name, value in headers.items()}
    assert ReflectingClient(lenient_server.channel()).ingest(body, metadata)["accepted"] == 1


def test_what_is_given_is_still_checked(lenient_server: RunningServer) -> None:
    answer = lenient_server.post({"projectId": "x", "requests": [make_item(requestSize=-1, durationMs=...)]})
    assert answer.json["error"]["details"] == {
        "projectId": "must be a valid UUID",
        "requests[0].durationMs": "must not be null",
        "requests[0].requestSize": "must be greater than or equal to 0",
    }


def test_a_wrong_key_is_still_refused(lenient_server: RunningServer) -> None:
    assert lenient_server.request("POST", INGEST_PATH, b"{}", {"Authorization": "Bearer x"}).status == 401
    with pytest.raises(Refusal) as raised:
        ReflectingClient(lenient_server.channel()).ingest({}, {"authorization": "Basic x"})
    assert raised.value.status is grpc.StatusCode.UNAUTHENTICATED
