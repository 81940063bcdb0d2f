"""Whatever is valid is stored and read back equal, whatever is not is refused and stored nowhere, on both protocols."""

from datetime import datetime
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.grpc_client import ReflectingClient, Refusal
from tests.property.strategies import invalid_values, json_values, valid_items
from tests.running_server import RunningServer

real_sockets = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="session")
def client(server: RunningServer) -> ReflectingClient:
    return ReflectingClient(server.channel())


def as_stored(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": item["traceId"],
        "direction": item["direction"],
        "method": item["method"].upper(),
        "host": item["host"],
        "path": item["path"].replace("#", "?").split("?")[0],
        "status_code": item["statusCode"],
        "duration_ms": item["durationMs"],
        "request_size": item["requestSize"],
        "response_size": item["responseSize"],
        "user_id": item.get("userId"),
        "error_fingerprint": item.get("errorFingerprint"),
        "timestamp": datetime.fromisoformat(item["timestamp"]),
    }


@real_sockets
@given(items=st.lists(valid_items, min_size=1, max_size=5))
def test_valid_batches_are_read_back_equal(
    server: RunningServer, client: ReflectingClient, items: list[dict[str, Any]]
) -> None:
    body = {"projectId": server.project_id, "requests": items}
    answer = server.post(body)
    assert (answer.status, answer.json) == (202, {"ok": True, "accepted": len(items)})
    assert client.ingest(body, {"x-seestack-key": server.api_key})["accepted"] == len(items)
    for item in items:
        rows = server.rows(item["traceId"])
        assert len(rows) == 2
        for row in rows:
            assert {name: row[name] for name in as_stored(item)} == as_stored(item)


@real_sockets
@given(items=st.lists(valid_items, min_size=1, max_size=4), data=st.data())
def test_invalid_batches_are_refused_alike_and_stored_nowhere(
    server: RunningServer, client: ReflectingClient, items: list[dict[str, Any]], data: st.DataObject
) -> None:
    broken: set[str] = set()
    for index in data.draw(st.sets(st.integers(0, len(items) - 1), min_size=1), "items to break"):
        for field in data.draw(st.sets(st.sampled_from(sorted(invalid_values)), min_size=1, max_size=3), "fields"):
            items[index][field] = data.draw(invalid_values[field], field)
            broken.add(f"requests[{index}].{field}")
    body = {"projectId": server.project_id, "requests": items}
    answer = server.post(body)
    assert answer.status == 422
    assert set(answer.json["error"]["details"]) == broken
    with pytest.raises(Refusal) as raised:
        client.ingest(body, {"x-seestack-key": server.api_key})
    assert raised.value.status is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.violations == answer.json["error"]["details"]
    for item in items:
        if "\0" not in item["traceId"]:
            assert server.rows(item["traceId"]) == []


@real_sockets
@given(item=valid_items, field=st.sampled_from(sorted(invalid_values)), value=json_values)
def test_any_json_in_a_field_is_stored_or_refused(
    server: RunningServer, item: dict[str, Any], field: str, value: Any
) -> None:
    answer = server.post({"projectId": server.project_id, "requests": [item | {field: value}]})
    assert answer.status in (202, 422)
    if answer.status == 422:
        assert set(answer.json["error"]["details"]) == {f"requests[0].{field}"}


@real_sockets
@given(body=json_values)
def test_any_json_as_a_body_gets_a_clear_answer(server: RunningServer, body: Any) -> None:
    assert server.post(body if not isinstance(body, bytes) else None).status == 422


@real_sockets
@given(data=st.binary(max_size=200))
def test_any_bytes_as_a_body_get_a_clear_answer(server: RunningServer, client: ReflectingClient, data: bytes) -> None:
    assert server.post(data).status in (400, 422)
    with pytest.raises(Refusal) as raised:
        client.ingest_bytes(data, {"x-seestack-key": server.api_key})
    assert raised.value.reason in ("MALFORMED_REQUEST", "VALIDATION_ERROR")
