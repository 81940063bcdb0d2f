"""The pages beside the endpoint: probes, the OpenAPI document, and the page that renders it."""

import json
import re
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.batches import make_batch, make_item
from tests.contract.cases import ACCEPTED, REFUSED, Case
from tests.contract.test_http_errors import MALFORMED
from tests.running_server import INGEST_PATH, RunningServer


@pytest.fixture(scope="session")
def document(server: RunningServer) -> dict[str, Any]:
    loaded: dict[str, Any] = server.request("GET", "/openapi.json").json
    return loaded


def validator(document: dict[str, Any], name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def test_probes(server: RunningServer) -> None:
    assert (server.request("GET", "/healthz").status, server.request("GET", "/healthz").json) == (200, {"status": "ok"})
    ready = server.request("GET", "/readyz")
    spool = {"batches": 0, "rows": 0, "bytes": 0, "oldestSeconds": 0.0, "stalledSeconds": 0.0}
    assert (ready.status, ready.json) == (200, {"status": "ready", "spool": spool})


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document, cls=OpenAPIV31SpecValidator)


def test_sending_comes_first_and_every_path_is_listed_under_a_name(document: dict[str, Any]) -> None:
    names = [tag["name"] for tag in document["tags"]]
    listed = {tag for path in document["paths"].values() for operation in path.values() for tag in operation["tags"]}
    assert document["paths"]["/ingest/v1/http-requests"]["post"]["tags"] == names[:1]
    assert listed == set(names)


def test_all_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for path in document["paths"].values():
        for operation in path.values():
            contents = [*operation["responses"].values(), operation.get("requestBody", {})]
            for content in (content["content"]["application/json"] for content in contents if "content" in content):
                schema = content["schema"] | {"components": document["components"]}
                for example in content["examples"].values():
                    jsonschema.Draft202012Validator(schema).validate(example["value"])
                    checked += 1
    assert checked >= 10


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_the_document_allows_what_the_server_accepts(document: dict[str, Any], case: Any) -> None:
    if "60" in str(case.change.get("timestamp")):
        pytest.skip("the validator's own date-time check knows no leap seconds")
    item = json.loads(json.dumps(make_item(**case.change)))
    validator(document, "Batch").validate(make_batch("a1b2c3d4-e5f6-7890-abcd-ef1234567890") | {"requests": [item]})


# What no schema can say, or what the validator's own regular expressions and date-time check are too loose for.
BEYOND_SCHEMAS = {
    "project of somebody else",
    "method 'GET\\n'",
    "timestamp '2026-03-31T12:00:00Z\\n'",
    "timestamp '0001-01-01T00:00:00+00:01'",
    "timestamp '9999-12-31T23:59:59-00:01'",
}


@pytest.mark.parametrize(
    "case", [case for case in REFUSED if case.name not in BEYOND_SCHEMAS], ids=lambda case: case.name
)
def test_the_document_forbids_what_the_server_refuses(document: dict[str, Any], case: Case) -> None:
    body = make_batch("a1b2c3d4-e5f6-7890-abcd-ef1234567890") | case.body
    body = json.loads(json.dumps({name: value for name, value in body.items() if value is not ...}))
    assert not validator(document, "Batch").is_valid(body)


def test_the_document_describes_the_errors_as_they_are(server: RunningServer, document: dict[str, Any]) -> None:
    responses = document["paths"][INGEST_PATH]["post"]["responses"]
    answers = [
        server.post(make_batch(server.project_id)),
        *(server.post(body) for body, _ in MALFORMED.values()),
        server.post({}),
        server.post({}, X_SeeStack_Key=""),
        server.post(b" " * (2**20 + 1)),
        server.post({}, Content_Type="text/plain"),
    ]
    seen = set()
    for answer in answers:
        schema = responses[str(answer.status)]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        validator(document, schema).validate(answer.json)
        seen.add(answer.status)
    assert seen == {202, 400, 401, 413, 415, 422}


def test_a_lenient_server_describes_itself(lenient_server: RunningServer) -> None:
    document = lenient_server.request("GET", "/openapi.json").json
    openapi_spec_validator.validate(document, cls=OpenAPIV31SpecValidator)
    validator(document, "Batch").validate({"requests": [make_item(requestSize=..., responseSize=...)]})
    assert {"X-AllStak-Key", "X-SeeStack-Key"} < {
        scheme.get("name", "") for scheme in document["components"]["securitySchemes"].values()
    } | {""}


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_documentation_page_needs_nothing_from_elsewhere(server: RunningServer, path: str) -> None:
    page = server.request("GET", path)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    text = page.body.decode()
    assert "/openapi.json" in text
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert links
    for link in links:
        assert link.startswith("/docs/")
        assert server.request("GET", link).status == 200
