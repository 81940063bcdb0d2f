"""Keys with limits: what is refused, in which order, and what answers tell of what is left."""

import re
from typing import Any
from uuid import UUID

import grpc
import pytest

from storage.database import connect
from storage.keys.api_keys import create_key
from storage.keys.limits import KeyLimits, RateLimit
from tests.batches import make_batch
from tests.contract.envelope import assert_envelope
from tests.grpc_client import ReflectingClient, Refusal
from tests.running_server import INGEST_PATH, Answer, RunningServer

# So slow that nothing comes back while a test runs.
SLOW = 0.001


class LimitedKey:
    """A key of the server's project, and what may be sent with it."""

    def __init__(self, server: RunningServer, requests: int | None = None, rows: int | None = None) -> None:
        """Bursts of None are without limit."""
        limits = KeyLimits(*(None if burst is None else RateLimit(SLOW, burst) for burst in (requests, rows)))
        with connect(server.database_url) as connection:
            self.raw_key = create_key(connection, UUID(server.project_id), "limited", limits=limits)[1]
        self._server = server
        self._client = ReflectingClient(server.channel())

    def post(self, body: object, **headers: str) -> Answer:
        return self._server.post(body, X_SeeStack_Key=self.raw_key, **headers)

    def post_rows(self, count: int) -> Answer:
        return self.post(make_batch(self._server.project_id, count))

    def call(self, count: int = 1) -> dict[str, Any]:
        return self._client.ingest(make_batch(self._server.project_id, count), self._metadata)

    def stream(self, *counts: int) -> list[dict[str, Any]]:
        batches = [make_batch(self._server.project_id, count) for count in counts]
        return self._client.stream(batches, self._metadata)

    def refused_call(self, data: bytes) -> Refusal:
        with pytest.raises(Refusal) as raised:
            self._client.ingest_bytes(data, self._metadata)
        return raised.value

    @property
    def _metadata(self) -> dict[str, str]:
        return {"x-seestack-key": self.raw_key}


def left_of(answer: Answer) -> dict[str, int]:
    """Return what an answer says is left under each limit."""
    return {name: int(left) for name, left in re.findall(r'"(\w+)";r=(\d+);t=\d+', answer.headers["ratelimit"])}


def assert_too_many(answer: Answer, unit: str, left: int) -> None:
    """Check that an answer is a 429 for want of so many requests or rows, of which there will be more in 1000 s."""
    retry_after = int(answer.headers["retry-after"])
    assert 970 < retry_after <= 1000
    message = f"Too many requests: this key may send 0.001 {unit} a second; try again in {retry_after} s"
    assert_envelope(answer, 429, "RATE_LIMITED", message)
    assert answer.headers["ratelimit"].split(", ")[-1] == f'"{unit}";r={left};t={retry_after}'


def test_requests_beyond_a_burst_are_refused_over_http(server: RunningServer) -> None:
    key = LimitedKey(server, requests=2)
    first, second, third = (key.post_rows(5) for _ in range(3))
    assert (first.status, second.status) == (202, 202)
    assert first.headers["ratelimit-policy"] == second.headers["ratelimit-policy"] == '"requests";q=2;w=2000'
    assert first.headers["ratelimit"] == '"requests";r=1;t=1000'
    assert left_of(second) == {"requests": 0}
    assert_too_many(third, "requests", left=0)
    assert third.headers["ratelimit-policy"] == '"requests";q=2;w=2000'


def test_requests_beyond_a_burst_are_refused_over_grpc(server: RunningServer) -> None:
    key = LimitedKey(server, requests=2)
    assert [key.call(5)["accepted"] for _ in range(2)] == [5, 5]
    refusal = key.refused_call(b"")
    assert (refusal.status, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert refusal.message.startswith("Too many requests: this key may send 0.001 requests a second; try again in ")
    # Exact, where HTTP has whole seconds only.
    assert refusal.retry_after_s is not None
    assert 970 < refusal.retry_after_s < 1000
    assert refusal.retry_after_s % 1


def test_both_protocols_draw_on_the_same_limit(server: RunningServer) -> None:
    key = LimitedKey(server, requests=4)
    assert left_of(key.post_rows(1)) == {"requests": 3}
    key.call()
    assert left_of(key.post_rows(1)) == {"requests": 1}
    assert key.stream(1, 1)[0]["accepted"] == 1
    assert key.post_rows(1).status == 429
    assert key.refused_call(b"").reason == "RATE_LIMITED"


def test_rows_count_all_or_not_at_all(server: RunningServer) -> None:
    key = LimitedKey(server, rows=10)
    batch = make_batch(server.project_id, 6)
    assert left_of(key.post(batch)) == {"rows": 4}
    refused = key.post(make_batch(server.project_id, 5, traceId="one row too many"))
    assert_too_many(refused, "rows", left=4)
    assert server.rows("one row too many") == []
    assert left_of(key.post_rows(4)) == {"rows": 0}


def test_a_batch_larger_than_a_burst_is_told_what_would_pass(server: RunningServer) -> None:
    key = LimitedKey(server, rows=10)
    message = "Too many requests: a batch of this key may have at most 10 rows, and this one has 11; send smaller ones"
    refused = key.post_rows(11)
    assert_envelope(refused, 429, "RATE_LIMITED", message)
    assert int(refused.headers["retry-after"]) >= 1
    with pytest.raises(Refusal) as raised:
        key.call(11)
    assert raised.value.message == message
    assert left_of(key.post_rows(10)) == {"rows": 0}


def test_a_batch_of_a_stream_is_refused_and_the_stream_goes_on(server: RunningServer) -> None:
    responses = LimitedKey(server, requests=4, rows=5).stream(3, 3, 2, 101, 1)
    assert [response.get("accepted") for response in responses] == [3, None, 2, None, None]
    codes = [response["error"]["code"] for response in responses if "error" in response]
    assert codes == ["RATE_LIMITED", "VALIDATION_ERROR", "RATE_LIMITED"]
    assert "rows" in responses[1]["error"]["message"]
    assert "requests" in responses[4]["error"]["message"]
    assert 970 < float(responses[4]["error"]["retryDelay"].removesuffix("s")) < 1000


def test_requests_are_limited_before_their_body_is_looked_at_and_rows_after_it(server: RunningServer) -> None:
    key = LimitedKey(server, requests=3, rows=5)
    assert key.post(b"not json").status == 400
    invalid = key.post(make_batch(server.project_id, 3, statusCode=1))
    assert (invalid.status, left_of(invalid)) == (422, {"requests": 1})
    # What was invalid has used up no rows.
    assert left_of(key.post_rows(5)) == {"requests": 0, "rows": 0}
    for body in (b"not json", b" " * 10**6, b" " * 10**7):
        assert_too_many(key.post(body), "requests", left=0)
    assert key.refused_call(b"\xff\xff").reason == "RATE_LIMITED"


def test_other_keys_are_left_alone_and_without_limits_nothing_is_said(server: RunningServer) -> None:
    exhausted, other = LimitedKey(server, requests=1), LimitedKey(server, requests=1)
    assert [exhausted.post_rows(1).status for _ in range(2)] == [202, 429]
    assert other.post_rows(1).status == 202
    free = server.post(make_batch(server.project_id))
    assert free.status == 202
    assert not {"ratelimit", "ratelimit-policy"} & set(free.headers)
    assert LimitedKey(server).post_rows(1).status == 202


def test_browsers_may_read_the_headers_and_the_document_tells_of_them(server: RunningServer) -> None:
    key = LimitedKey(server, requests=1)
    documented = server.request("GET", "/openapi.json").json["paths"][INGEST_PATH]["post"]["responses"]
    for answer, status in ((key.post_rows(1), "202"), (key.post_rows(1), "429")):
        assert str(answer.status) == status
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        headers = {name.lower() for name in documented[status]["headers"]}
        assert {"ratelimit", "ratelimit-policy"} <= exposed & headers & set(answer.headers)
    assert "Retry-After" in documented["429"]["headers"]
