"""Requests that are sent again with their idempotency keys: one answer, one set of rows, on both protocols."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import pytest

from tests.batches import make_batch
from tests.grpc_client import ReflectingClient, Refusal
from tests.running_server import RunningServer, create_key

REUSED = {"idempotencyKey": "was used before with another body"}
WRONG = {"idempotencyKey": "must be 1 to 255 printable ASCII characters"}
DIFFERENT = {"idempotencyKey": "must match the header idempotency-key"}


def new_batch(server: RunningServer, count: int = 1) -> tuple[str, dict[str, Any]]:
    trace = f"repeated-{uuid4().hex}"
    return trace, make_batch(server.project_id, count, traceId=trace)


def test_a_repeated_request_is_answered_as_the_first_time_and_stored_once(server: RunningServer) -> None:
    trace, batch = new_batch(server, 3)
    key = f'"{uuid4()}"'
    answers = [server.post(batch, Idempotency_Key=key) for _ in range(3)]
    assert [(answer.status, answer.json) for answer in answers] == [(202, {"ok": True, "accepted": 3})] * 3
    assert len(server.rows(trace)) == 3


def test_requests_without_a_key_are_stored_as_often_as_they_are_sent(server: RunningServer) -> None:
    trace, batch = new_batch(server)
    assert [server.post(batch).status for _ in range(3)] == [202] * 3
    assert len(server.rows(trace)) == 3


def test_quotes_around_a_key_make_no_difference(server: RunningServer) -> None:
    trace, batch = new_batch(server)
    key = str(uuid4()) + "\\"
    for spelling in (key, '"' + key.replace("\\", "\\\\") + '"', f" {key} "):
        assert server.post(batch, Idempotency_Key=spelling).status == 202
    assert len(server.rows(trace)) == 1


def test_many_at_once_are_stored_once(server: RunningServer) -> None:
    """They reach different processes, and come while the first one is still under way."""
    trace, batch = new_batch(server, 2)
    key = str(uuid4())
    with ThreadPoolExecutor(20) as executor:
        answers = list(executor.map(lambda _: server.post(batch, Idempotency_Key=key), range(60)))
    assert {(answer.status, answer.json["accepted"]) for answer in answers} == {(202, 2)}
    assert len(server.rows(trace)) == 2


def test_a_key_with_another_body_is_refused(server: RunningServer) -> None:
    key = str(uuid4())
    _, first = new_batch(server)
    trace, second = new_batch(server)
    assert server.post(first, Idempotency_Key=key).status == 202
    answer = server.post(second, Idempotency_Key=key)
    assert (answer.status, answer.json["error"]["code"]) == (422, "VALIDATION_ERROR")
    assert answer.json["error"]["details"] == REUSED
    assert server.rows(trace) == []
    assert server.post(first, Idempotency_Key=key).status == 202


def test_a_key_of_another_project_is_another_key(server: RunningServer) -> None:
    key = str(uuid4())
    assert server.post(new_batch(server)[1], Idempotency_Key=key).status == 202
    other_project, other_key = create_key(server.database_url)
    batch = make_batch(other_project)
    assert server.post(batch, Idempotency_Key=key, X_SeeStack_Key=other_key).status == 202


def test_a_refused_request_leaves_its_key_free(server: RunningServer) -> None:
    key = str(uuid4())
    trace, batch = new_batch(server)
    wrong = make_batch(server.project_id, statusCode=99)
    assert server.post(wrong, Idempotency_Key=key).status == 422
    assert server.post(batch, Idempotency_Key=key).status == 202
    assert len(server.rows(trace)) == 1


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "tab\there", "é"])
def test_what_is_no_key_is_refused(server: RunningServer, key: str) -> None:
    trace, batch = new_batch(server)
    answer = server.post(batch, Idempotency_Key=key)
    assert (answer.status, answer.json["error"]["details"]) == (422, WRONG)
    assert server.rows(trace) == []


def test_the_longest_key_is_taken(server: RunningServer) -> None:
    assert server.post(new_batch(server)[1], Idempotency_Key="x" * 255).status == 202


def test_unary_calls(server: RunningServer, client: ReflectingClient, metadata: dict[str, str]) -> None:
    trace, batch = new_batch(server, 2)
    key = {"idempotency-key": str(uuid4())}
    for _ in range(3):
        assert client.ingest(batch, metadata | key) == {"ok": True, "accepted": 2}
    assert len(server.rows(trace)) == 2
    with pytest.raises(Refusal) as raised:
        client.ingest(new_batch(server)[1], metadata | key)
    assert (raised.value.status, raised.value.violations) == (grpc.StatusCode.INVALID_ARGUMENT, REUSED)


def test_a_key_in_the_message_is_as_good(
    server: RunningServer, client: ReflectingClient, metadata: dict[str, str]
) -> None:
    trace, batch = new_batch(server)
    batch["idempotencyKey"] = str(uuid4())
    for _ in range(2):
        assert client.ingest(batch, metadata)["accepted"] == 1
    assert len(server.rows(trace)) == 1


def test_a_key_in_an_http_body_is_as_good(server: RunningServer, client: ReflectingClient) -> None:
    trace, batch = new_batch(server)
    batch["idempotencyKey"] = str(uuid4())
    for headers in ({}, {}, {"Idempotency_Key": batch["idempotencyKey"]}):
        assert server.post(batch, **headers).status == 202
    assert len(server.rows(trace)) == 1
    answer = server.post(batch | {"requests": new_batch(server)[1]["requests"]})
    assert (answer.status, answer.json["error"]["details"]) == (422, REUSED)


def test_a_header_and_a_field_that_differ_are_refused(
    server: RunningServer, client: ReflectingClient, metadata: dict[str, str]
) -> None:
    trace, batch = new_batch(server)
    batch["idempotencyKey"] = str(uuid4())
    answer = server.post(batch, Idempotency_Key=str(uuid4()))
    assert (answer.status, answer.json["error"]["details"]) == (422, DIFFERENT)
    with pytest.raises(Refusal) as raised:
        client.ingest(batch, metadata | {"idempotency-key": str(uuid4())})
    assert (raised.value.status, raised.value.violations) == (grpc.StatusCode.INVALID_ARGUMENT, DIFFERENT)
    assert server.rows(trace) == []


@pytest.mark.parametrize("value", [5, True, ["x"], {}])
def test_a_field_that_is_no_string_is_refused(server: RunningServer, value: object) -> None:
    answer = server.post(new_batch(server)[1] | {"idempotencyKey": value})
    assert (answer.status, answer.json["error"]["details"]) == (422, {"idempotencyKey": "must be a string"})


@pytest.mark.parametrize("value", ["", "x" * 256, "é"])
def test_a_field_that_is_no_key_is_refused(server: RunningServer, value: str) -> None:
    answer = server.post(new_batch(server)[1] | {"idempotencyKey": value})
    assert (answer.status, answer.json["error"]["details"]) == (422, WRONG)


def test_batches_of_streams(server: RunningServer, client: ReflectingClient, metadata: dict[str, str]) -> None:
    trace, batch = new_batch(server)
    other_trace, other = new_batch(server, 2)
    key, other_key = str(uuid4()), str(uuid4())
    keyed = batch | {"idempotencyKey": key}
    bodies = [keyed, other | {"idempotencyKey": other_key}, keyed, other | {"idempotencyKey": key}, batch]
    for _ in range(2):
        outcomes = client.stream(bodies, metadata)
        assert [outcome.get("accepted") for outcome in outcomes] == [1, 2, 1, None, 1]
        (violation,) = outcomes[3]["error"]["fieldViolations"]
        assert {violation["field"]: violation["description"]} == REUSED
    assert (len(server.rows(trace)), len(server.rows(other_trace))) == (3, 2)


def test_the_document_tells_of_the_header(server: RunningServer) -> None:
    document = json.loads(server.request("GET", "/openapi.json").body)
    parameters = document["paths"]["/ingest/v1/http-requests"]["post"]["parameters"]
    assert "Idempotency-Key" in {parameter["name"] for parameter in parameters}
