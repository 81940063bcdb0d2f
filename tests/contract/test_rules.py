"""The contract's rules, over HTTP and over gRPC alike."""

from typing import Any
from uuid import UUID

import grpc
import pytest

from tests.batches import EXAMPLE_ITEMS, make_batch, make_item
from tests.contract.cases import ACCEPTED, REFUSED, Accepted, Case
from tests.grpc_client import ReflectingClient, Refusal
from tests.running_server import RunningServer


def id_of(case: Case | Accepted) -> str:
    return case.name


def body_of(case: Case, server: RunningServer) -> dict[str, Any]:
    body = make_batch(server.project_id) | case.body
    return {name: value for name, value in body.items() if value is not ...}


@pytest.mark.parametrize("case", REFUSED, ids=id_of)
def test_http_refuses(server: RunningServer, case: Case) -> None:
    answer = server.post(body_of(case, server))
    assert answer.status == 422
    assert answer.json["error"] == {
        "code": "VALIDATION_ERROR",
        "message": "Validation failed",
        "details": dict(list(case.details.items())[:100]),
    }


@pytest.mark.parametrize("case", [case for case in REFUSED if not case.only_json], ids=id_of)
def test_grpc_refuses(server: RunningServer, client: ReflectingClient, metadata: dict[str, str], case: Case) -> None:
    with pytest.raises(Refusal) as raised:
        client.ingest(body_of(case, server), metadata)
    refusal = raised.value
    assert (refusal.status, refusal.message) == (grpc.StatusCode.INVALID_ARGUMENT, "Validation failed")
    assert (refusal.reason, refusal.domain) == ("VALIDATION_ERROR", "seestack")
    assert refusal.violations == dict(list(case.details.items())[:100])


@pytest.mark.parametrize("case", [case for case in REFUSED if not case.only_json], ids=id_of)
def test_stream_refuses_and_goes_on(
    server: RunningServer, client: ReflectingClient, metadata: dict[str, str], case: Case
) -> None:
    first, refused, last = client.stream(
        [make_batch(server.project_id), body_of(case, server), make_batch(server.project_id, 2)], metadata
    )
    assert (first["sequence"], first["accepted"]) == ("0", 1)
    assert (last["sequence"], last["accepted"]) == ("2", 2)
    assert refused["sequence"] == "1"
    assert refused["error"]["code"] == "VALIDATION_ERROR"
    violations = {item["field"]: item["description"] for item in refused["error"]["fieldViolations"]}
    assert violations == dict(list(case.details.items())[:100])


@pytest.mark.parametrize("case", ACCEPTED, ids=id_of)
def test_http_stores(server: RunningServer, case: Accepted) -> None:
    item = make_item(**case.change)
    answer = server.post({"projectId": server.project_id, "requests": [item]})
    assert (answer.status, answer.json) == (202, {"ok": True, "accepted": 1})
    assert_stored(server, item, case)


@pytest.mark.parametrize("case", [case for case in ACCEPTED if not case.only_json], ids=id_of)
def test_grpc_stores(server: RunningServer, client: ReflectingClient, metadata: dict[str, str], case: Accepted) -> None:
    item = make_item(**case.change)
    assert client.ingest({"projectId": server.project_id, "requests": [item]}, metadata) == {"ok": True, "accepted": 1}
    assert_stored(server, item, case)


def assert_stored(server: RunningServer, item: dict[str, Any], case: Accepted) -> None:
    stored = server.rows(item["traceId"])[-1][case.column]
    assert (stored.isoformat() if case.column == "timestamp" else stored) == case.stored


def test_requests_left_out_over_grpc(client: ReflectingClient, server: RunningServer, metadata: dict[str, str]) -> None:
    with pytest.raises(Refusal) as raised:
        client.ingest({"projectId": server.project_id}, metadata)
    assert raised.value.violations == {"requests": "must not be empty"}


def test_one_bad_item_refuses_the_whole_batch(server: RunningServer) -> None:
    good = make_item()
    answer = server.post({"projectId": server.project_id, "requests": [good, make_item(host=" ")]})
    assert answer.status == 422
    assert server.rows(good["traceId"]) == []


def test_the_documents_example_is_stored_field_by_field(server: RunningServer, client: ReflectingClient) -> None:
    items = [item | {"traceId": make_item()["traceId"]} for item in EXAMPLE_ITEMS]
    body = {"projectId": server.project_id, "requests": items}
    answer = server.post(body)
    assert (answer.status, answer.body) == (202, b'{"ok": true, "accepted": 2}')
    assert client.ingest(body, {"x-seestack-key": server.api_key}) == {"ok": True, "accepted": 2}
    for item in items:
        rows = server.rows(item["traceId"])
        assert len(rows) == 2
        for row in rows:
            assert row["project_id"] == UUID(server.project_id)
            assert row["id"].version == 7
            stored = {
                "traceId": row["trace_id"],
                "direction": row["direction"],
                "method": row["method"],
                "host": row["host"],
                "path": row["path"],
                "statusCode": row["status_code"],
                "durationMs": row["duration_ms"],
                "requestSize": row["request_size"],
                "responseSize": row["response_size"],
                "timestamp": row["timestamp"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            }
            if "userId" in item:
                stored["userId"] = row["user_id"]
            assert stored == item
            assert row["error_fingerprint"] is None


def test_the_largest_batch_is_stored(server: RunningServer, client: ReflectingClient) -> None:
    body = make_batch(server.project_id, 100)
    assert server.post(body).json == {"ok": True, "accepted": 100}
    assert client.ingest(body, {"x-seestack-key": server.api_key})["accepted"] == 100


def test_identical_batches_are_stored_as_often_as_they_are_sent(server: RunningServer) -> None:
    body = make_batch(server.project_id)
    assert [server.post(body).status for _ in range(3)] == [202, 202, 202]
    assert len(server.rows(body["requests"][0]["traceId"])) == 3


def test_project_id_may_be_in_upper_case(server: RunningServer) -> None:
    assert server.post(make_batch(server.project_id.upper())).status == 202
