"""Texts that mean something to SQL, to COPY, to a terminal or to a log: stored as they are, or refused, and no more."""

import json
import re
import uuid
from typing import Any

import grpc
import pytest

from tests.batches import make_batch, make_item
from tests.contract.cases import LONGEST
from tests.contract.envelope import assert_envelope
from tests.grpc_client import ReflectingClient, Refusal
from tests.running_server import INGEST_PATH, RunningServer, create_key

HOSTILE = [
    "'; DROP TABLE http_requests; --",
    '"); DELETE FROM api_keys; --',
    "$$; SELECT pg_sleep(60); $$",
    "\\N",
    "\\.\n\\.",
    "a\tb\r\nc",
    "%s %(x)s {0} ${jndi:ldap://x}",
    "2026-01-01T00:00:00.000Z ERROR forged: line",
    "\x1b[2J\x07",
    "\u202e\u2028\ufeff",
]
COLUMNS = {
    "traceId": "trace_id", "host": "host", "path": "path", "userId": "user_id", "errorFingerprint": "error_fingerprint"
}  # fmt: skip
MESSAGES = {"request refused", "too many requests in a second to log each"}
HEADERS = [
    "X-SeeStack-Key", "X-Request-Id", "Content-Type", "Content-Encoding", "Origin", "Host", "User-Agent", "Cookie",
    "X-Forwarded-For", "Referer",
]  # fmt: skip


def send(server: RunningServer, client: ReflectingClient, protocol: str, body: dict[str, Any]) -> None:
    if protocol == "HTTP":
        assert server.post(body).status == 202
    else:
        client.ingest(body, {"x-seestack-key": server.api_key})


def assert_log_is_whole(log: str) -> None:
    """Check that each line of a log is one of ours, and none begins with what a client sent."""
    for line in log.splitlines():
        assert json.loads(line)["message"] in MESSAGES


@pytest.mark.parametrize("protocol", ["HTTP", "gRPC"])
def test_hostile_texts_are_stored_as_they_are(server: RunningServer, client: ReflectingClient, protocol: str) -> None:
    logged = len(server.log.read_text())
    user = f"user-{uuid.uuid4()}"
    items = [
        make_item(**{"userId": user, field: text}) for text in HOSTILE for field in COLUMNS if field != "traceId"
    ] + [make_item(userId=user, traceId=f"{text}{user}") for text in HOSTILE]
    send(server, client, protocol, {"projectId": server.project_id, "requests": items})
    stored = {row["trace_id"]: row for row in server.rows()}
    for item in items:
        row = stored[item["traceId"]]
        assert [row[column] for column in COLUMNS.values()] == [item.get(field) for field in COLUMNS]
    assert_log_is_whole(server.log.read_text()[logged:])


@pytest.mark.parametrize("field", [*LONGEST, "direction", "timestamp"])
def test_hostile_texts_that_break_a_rule_are_refused_without_being_repeated(server: RunningServer, field: str) -> None:
    for text in HOSTILE:
        too_long = text * 9000 if field in COLUMNS else text
        answer = server.post(make_batch(server.project_id, 1, **{field: too_long}))
        assert answer.status == 422
        assert set(answer.json["error"]["details"]) == {f"requests[0].{field}"}
        assert text not in answer.body.decode("unicode_escape")


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers_leave_no_trace(server: RunningServer, name: str) -> None:
    logged = len(server.log.read_text())
    for text in HOSTILE:
        value = re.sub(r"[\r\n\0]", " ", text).encode("ascii", "replace").decode()
        answer = server.post(make_batch(server.project_id), **{name.replace("-", "_"): value})
        assert answer.status in (202, 400, 401, 415)
        assert value not in str(answer.headers)
    assert_log_is_whole(server.log.read_text()[logged:])


@pytest.mark.parametrize("name", ["x-request-id", "x-seestack-key", "user-agent", "x-any"])
def test_hostile_metadata_leaves_no_trace(server: RunningServer, client: ReflectingClient, name: str) -> None:
    logged = len(server.log.read_text())
    for text in HOSTILE:
        metadata = {"x-seestack-key": server.api_key} | {name: re.sub(r"[^ -~]", "x", text)}
        if name != "x-seestack-key":
            assert client.ingest(make_batch(server.project_id), metadata)["accepted"] == 1
            continue
        with pytest.raises(Refusal) as raised:
            client.ingest(make_batch(server.project_id), metadata)
        assert (raised.value.status, raised.value.message) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "Invalid or missing API key",
        )
    assert_log_is_whole(server.log.read_text()[logged:])


def test_hostile_paths_are_not_repeated(server: RunningServer) -> None:
    logged = len(server.log.read_text())
    for path in ("/%0d%0aX-Injected:%201", f"{INGEST_PATH}%0aERROR%20forged", "/%1b[2J", "/<script>alert(1)</script>"):
        answer = server.request("GET", path)
        assert_envelope(answer, 404, "NOT_FOUND", "Not found")
        assert "x-injected" not in answer.headers
    assert_log_is_whole(server.log.read_text()[logged:])


def test_a_stream_reaches_the_project_of_its_key_only(server: RunningServer, client: ReflectingClient) -> None:
    own_project, own_key = create_key(server.database_url)
    foreign, own = make_batch(server.project_id), make_batch(own_project)
    refused, accepted = client.stream([foreign, own], {"x-seestack-key": own_key})
    assert refused["error"]["fieldViolations"] == [
        {"field": "projectId", "description": "must match the project of the API key"}
    ]
    assert accepted["accepted"] == 1
    assert server.rows(foreign["requests"][0]["traceId"]) == []
    assert [str(row["project_id"]) for row in server.rows(own["requests"][0]["traceId"])] == [own_project]


def test_the_last_of_several_project_ids_counts(server: RunningServer) -> None:
    own_project, own_key = create_key(server.database_url)
    both = b'{"projectId": "%s", "projectId": "%s", "requests": []}'
    for first, last, details in (
        (own_project, server.project_id, {"projectId": "must match the project of the API key"}),
        (server.project_id, own_project, {}),
    ):
        answer = server.post(both % (first.encode(), last.encode()), X_SeeStack_Key=own_key)
        assert answer.json["error"]["details"] == details | {"requests": "must not be empty"}
