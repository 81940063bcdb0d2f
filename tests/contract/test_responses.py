"""What all answers over HTTP have in common: request ids and CORS headers."""

from uuid import UUID, uuid4

import psycopg
import pytest

from tests.batches import make_batch
from tests.contract.envelope import assert_envelope
from tests.running_server import INGEST_PATH, Answer, RunningServer, start_server

PAGES = ["/healthz", "/readyz", "/openapi.json", "/docs", "/nowhere"]
SENT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
ORIGIN = {"Origin": "https://app.example.com"}


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_has_a_request_id_of_its_own(server: RunningServer, path: str) -> None:
    identifiers = {UUID(server.request("GET", path).headers["x-request-id"]) for _ in range(3)}
    assert len(identifiers) == 3


@pytest.mark.parametrize("sent", [SENT, SENT.upper()])
def test_a_clients_uuid_becomes_the_request_id(server: RunningServer, sent: str) -> None:
    assert server.post(make_batch(server.project_id), X_Request_Id=sent).headers["x-request-id"] == sent
    answer = server.post({}, X_Request_Id=sent)
    assert (answer.headers["x-request-id"], answer.json["meta"]["requestId"]) == (sent, sent)


@pytest.mark.parametrize("sent", ["", "5", "my-request", "0" * 32, f"{{{SENT}}}", f"{SENT}x", "x" * 5000])
def test_anything_else_does_not(server: RunningServer, sent: str) -> None:
    answer = server.post({}, X_Request_Id=sent)
    assert UUID(answer.headers["x-request-id"]).version == 4
    assert answer.headers["x-request-id"] != sent


def test_a_preflight_allows_what_sdks_send(server: RunningServer) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-seestack-key"}
    answer = server.request("OPTIONS", INGEST_PATH, headers=ORIGIN | asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST"
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert allowed == {
        "content-type", "x-seestack-key", "x-request-id", "idempotency-key", "content-encoding",
        "traceparent", "tracestate", "baggage",
    }  # fmt: skip
    assert answer.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-credentials" not in answer.headers


def answers_of_all_kinds(server: RunningServer) -> dict[int, Answer]:
    answers = [
        server.post(make_batch(server.project_id), **ORIGIN),
        server.post(b"x", **ORIGIN),
        server.post({}, X_SeeStack_Key="x", **ORIGIN),
        server.request("POST", "/ingest/v2", headers=ORIGIN),
        server.request("GET", INGEST_PATH, headers=ORIGIN),
        server.post({}, **ORIGIN),
    ]
    return {answer.status: answer for answer in answers}


def test_every_answer_below_ingest_can_be_read_by_a_page_of_another_origin(server: RunningServer) -> None:
    answers = answers_of_all_kinds(server)
    assert set(answers) == {202, 400, 401, 404, 405, 422}
    for answer in answers.values():
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]


def test_pages_for_people_are_not_for_other_origins(server: RunningServer) -> None:
    for path in PAGES:
        assert "access-control-allow-origin" not in server.request("GET", path, headers=ORIGIN).headers


def test_origins_can_be_limited(database_url: str) -> None:
    with start_server(database_url, "--cors-origins", "https://app.example.com, https://b.example.com") as server:
        for answer in answers_of_all_kinds(server).values():
            assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
            assert answer.headers["vary"] == "Origin"
        stranger = server.post(make_batch(server.project_id), Origin="https://evil.example.com")
        assert "access-control-allow-origin" not in stranger.headers
        assert stranger.headers["vary"] == "Origin"


def test_an_unexpected_error_is_a_500_that_tells_nothing(database_url: str) -> None:
    with start_server(database_url) as server, psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE http_request_rows ALTER COLUMN error_fingerprint SET NOT NULL")
        sent = str(uuid4())
        answer = server.post(make_batch(server.project_id), X_Request_Id=sent)
        assert_envelope(answer, 500, "INTERNAL_ERROR", "An unexpected error occurred")
        assert sent in server.log.read_text()
        for secret in ("fingerprint", "http_request_rows", "Traceback", "COPY"):
            assert secret not in answer.body.decode()
