"""What is refused: wrong keys and parameters, other projects, too many queries; never with a 500."""

from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http_bridge.query_routes import PATHS
from server.contract.query_method import QueryMethod
from server.grpc.query_messages import REQUESTS
from server.query.parameters import PARAMETERS
from storage.keys.api_keys import Scope
from tests.contract.envelope import assert_envelope
from tests.grpc_client import Refusal, refusal_of
from tests.patience import PATIENCE_S
from tests.query import data
from tests.query.asking import Asking
from tests.running_server import RunningServer, create_key, run_command

NEEDED: dict[QueryMethod, dict[str, Any]] = {
    QueryMethod.TRACE: {"traceId": data.TRACES[0]},
    QueryMethod.EXPORT: {"format": "jsonl"},
}
RANGE = {"from": data.BEGIN.isoformat(), "to": "2026-03-04T00:00:00Z"}
WRONG = [
    ({"from": "yesterday"}, {"from": "must be a valid ISO-8601 date-time"}),
    ({"to": "2026-03-01T00:00:00"}, {"to": "must be a valid ISO-8601 date-time with Z or an offset"}),
    ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, {"from": "must be before `to`"}),
    ({"direction": "up"}, {"direction": 'must match "inbound|outbound"'}),
    ({"method": "G T"}, {"method": "must be a valid HTTP method"}),
    ({"statusGroup": "6xx"}, {"statusGroup": 'must match "2xx|3xx|4xx|5xx|0|failed"'}),
    ({"status": "99"}, {"status": "must be 0 or between 100 and 599"}),
    ({"status": "OK"}, {"status": "must be an integer"}),
    ({"host": ""}, {"host": "must not be blank"}),
    ({"host": "h" * 256}, {"host": "size must be between 1 and 255"}),
    ({"path": "a\0b"}, {"path": "must not contain NUL characters"}),
    ({"endpoint": "/1" * 21}, {"endpoint": "must have at most 20 placeholders"}),
    ({"minDurationMs": "-1"}, {"minDurationMs": "must be greater than or equal to 0"}),
    ({"page": "201"}, {"page": "must be between 1 and 200; go on with `cursor`"}),
    ({"page": "2", "cursor": "x"}, {"page": "must not be given with `cursor`"}),
    ({"cursor": "x"}, {"cursor": "must be the `nextCursor` of an answer"}),
    ({"perPage": "201"}, {"perPage": "must be between 1 and 200"}),
    ({"limit": "1", "x": "2"}, {"limit": "is not a parameter", "x": "is not a parameter"}),
]


def raw_call(asking: Asking, method: QueryMethod, message: bytes) -> bytes:
    """Return what a method answers to any bytes. Raises Refusal."""
    call: Any = asking.channel.unary_stream(f"/seestack.query.v1.QueryService/{method}", None, None)
    metadata = () if asking.key is None else (("x-seestack-key", asking.key),)
    try:
        return b"".join(call(message, timeout=PATIENCE_S, metadata=metadata))
    except grpc.RpcError as error:
        raise refusal_of(error) from error


def request_of(method: QueryMethod, parameters: dict[str, Any]) -> Message:
    message = REQUESTS[method]()
    for field in message.DESCRIPTOR.fields:
        if field.json_name in parameters:
            setattr(message, field.name, parameters[field.json_name])
    return message


@pytest.mark.parametrize(("parameters", "details"), WRONG)
def test_a_wrong_parameter_is_named(asking: Asking, parameters: dict[str, str], details: dict[str, str]) -> None:
    answer = asking.http(QueryMethod.LIST, parameters)
    assert_envelope(answer, 422, "VALIDATION_ERROR", "Validation failed", details)


def test_wrong_parameters_are_named_over_grpc_alike(asking: Asking) -> None:
    wrong = {"direction": "up", "host": "", "status": 99, "perPage": 201, "minDurationMs": -1}
    with pytest.raises(Refusal) as raised:
        raw_call(asking, QueryMethod.LIST, request_of(QueryMethod.LIST, wrong).SerializeToString())
    assert raised.value.reason == "VALIDATION_ERROR"
    assert raised.value.violations == asking.http(QueryMethod.LIST, wrong).json["error"]["details"]


def test_a_plus_that_was_not_encoded_is_told(asking: Asking) -> None:
    answer = asking.http(QueryMethod.STATS, "from=2026-03-01T00:00:00+01:00&to=2026-03-02T00:00:00%2B01:00")
    message = "must be a valid ISO-8601 date-time; in an address, its + is written %2B"
    assert answer.json["error"]["details"] == {"from": message}


def test_a_parameter_is_given_once(asking: Asking) -> None:
    assert asking.http(QueryMethod.LIST, "host=a&host=b").json["error"]["details"] == {"host": "must be given once"}


def test_steps_are_at_most_300(asking: Asking) -> None:
    answer = asking.http(QueryMethod.TIME_SERIES, {**RANGE, "step": "863"})
    message = "must give at most 300 points; for this range, 900 or more does"
    assert answer.json["error"]["details"] == {"step": message}


WITHOUT_HOSTS = (QueryMethod.STATS, QueryMethod.TIME_SERIES, QueryMethod.DISTRIBUTION)


@pytest.mark.parametrize("method", PATHS)
def test_no_key_reads_another_project(asking: Asking, query_server: RunningServer, method: QueryMethod) -> None:
    needed = NEEDED.get(method, {})
    full = asking.http(method, needed if method is QueryMethod.TRACE else {**RANGE, **needed})
    assert full.status == 200
    assert data.HOSTS[0].encode() in full.body or method in WITHOUT_HOSTS
    empty = replace(asking, key=create_key(query_server.database_url, scope=Scope.READ)[1])
    answer = empty.http(method, needed if method is QueryMethod.TRACE else {**RANGE, **needed})
    assert answer.status == 200
    assert not any(host.encode() in answer.body for host in data.HOSTS)
    if method in (QueryMethod.STATS, QueryMethod.TIME_SERIES):
        assert b'"totalRequests":0' in answer.body
        assert b'"totalRequests":1' not in answer.body
    if method is QueryMethod.DISTRIBUTION:
        assert answer.json["data"]["bars"] == []
    forbidden = empty.http(method, {**needed, "projectId": query_server.project_id})
    assert_envelope(forbidden, 403, "FORBIDDEN", "This key may not read that project")
    request = request_of(method, {**needed, "projectId": query_server.project_id})
    with pytest.raises(Refusal) as raised:
        raw_call(empty, method, request.SerializeToString())
    assert raised.value.status is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("method", PATHS)
def test_a_key_that_sends_may_not_read_and_no_key_is_a_401(asking: Asking, method: QueryMethod) -> None:
    refused = [
        (asking.server.api_key, (403, "FORBIDDEN", "This key may not read"), grpc.StatusCode.PERMISSION_DENIED),
        ("nonsense", (401, "INVALID_API_KEY", "Invalid or missing API key"), grpc.StatusCode.UNAUTHENTICATED),
        (None, (401, "INVALID_API_KEY", "Invalid or missing API key"), grpc.StatusCode.UNAUTHENTICATED),
    ]
    for key, expected, status in refused:
        other = replace(asking, key=key)
        assert_envelope(other.http(method, {"nonsense": 1}), *expected)
        with pytest.raises(Refusal) as raised:
            raw_call(other, method, b"")
        assert raised.value.status is status


def test_the_key_may_come_as_a_bearer(asking: Asking) -> None:
    path = "/api/v1/http-requests/stats"
    assert asking.server.request("GET", path, headers={"Authorization": f"Bearer {asking.key}"}).status == 200


def test_a_limit_of_a_key_holds_for_queries_over_both_protocols(asking: Asking) -> None:
    key = asking.create_key()
    run_command("keys", "limit", key[:20], "--requests-per-second", "0.001", "--requests-burst", "2",
                database_url=asking.server.database_url)  # fmt: skip
    limited = replace(asking, key=key)
    answer = limited.http(QueryMethod.STATS, {})
    assert answer.headers["ratelimit"].startswith('"requests";r=1;')
    limited.over_grpc(QueryMethod.STATS)
    refused = limited.http(QueryMethod.STATS, {})
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 0
    with pytest.raises(Refusal) as raised:
        limited.over_grpc(QueryMethod.STATS)
    assert raised.value.reason == "RATE_LIMITED"


hostile_text = st.text(max_size=30) | st.sampled_from(
    [
        "%",
        "\\",
        "'",
        "';--",
        "{id}",
        "/{id}/" * 9,
        "(",
        "[[:alpha:]",
        "1e400",
        "9" * 40,
        "-0",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2016-12-31T23:59:60Z",
        "auto",
        "0",
        "1",
        str(2**63),
        "\ud800",
        "\x00",
        "AQAA" * 8,
        "f" * 32,
        "00000000-0000-0000-0000-000000000000",
    ]
)
several = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(method=st.sampled_from(list(PATHS)), chosen=st.data())
def test_no_parameter_makes_an_error_of_the_server(asking: Asking, method: QueryMethod, chosen: st.DataObject) -> None:
    names = [parameter.json_name for parameter in PARAMETERS[method]]
    given = chosen.draw(st.dictionaries(st.sampled_from(names) | st.text(max_size=5), hostile_text, max_size=4))
    for parameters in (given, {**NEEDED.get(method, {}), **given}):
        query = "&".join(f"{quote(name)}={quote(value)}" for name, value in parameters.items())
        answer = asking.http(method, query)
        assert answer.status in (200, 403, 422), answer.body
        assert answer.status != 403 or "projectId" in parameters


@several
@given(method=st.sampled_from(list(PATHS)), message=st.binary(max_size=60), chosen=st.data())
def test_no_message_makes_an_error_of_the_server(
    asking: Asking, method: QueryMethod, message: bytes, chosen: st.DataObject
) -> None:
    fields = [field for field in REQUESTS[method].DESCRIPTOR.fields if field.message_type is None]
    text = st.text(st.characters(codec="utf-8"), max_size=30)
    request = REQUESTS[method]()
    for field in chosen.draw(st.lists(st.sampled_from(fields), max_size=4)):
        bits = {field.CPPTYPE_INT32: 31, field.CPPTYPE_INT64: 63}.get(field.cpp_type)
        value = text if bits is None else st.integers(-(2**bits), 2**bits - 1)
        setattr(request, field.name, chosen.draw(value))
    for encoded in (request.SerializeToString(), request.SerializeToString() + message):
        assert reason_of(asking, method, encoded) in (None, "VALIDATION_ERROR", "MALFORMED_REQUEST", "FORBIDDEN")


def reason_of(asking: Asking, method: QueryMethod, message: bytes) -> str | None:
    """Return why a message is refused, None when it is answered."""
    try:
        raw_call(asking, method, message)
    except Refusal as refusal:
        return refusal.reason
    return None


def quote(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


def test_the_proto_file_has_the_fields_of_the_table() -> None:
    for method, parameters in PARAMETERS.items():
        fields = {field.json_name for field in REQUESTS[method].DESCRIPTOR.fields}
        assert fields == {parameter.json_name for parameter in parameters}, method


@pytest.mark.parametrize("path", ["/", "/login", "/keys", "/static/pages.css"])
def test_pages_that_are_switched_off_are_not_there(query_server: RunningServer, path: str) -> None:
    assert_envelope(query_server.request("GET", path), 404, "NOT_FOUND", "Not found")
