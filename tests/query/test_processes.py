"""Query processes: what they say of themselves, and what happens when one dies."""

import os
import signal
from pathlib import Path

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from http_bridge.query_routes import PATHS
from server.contract.query_method import QueryMethod
from tests.process.polling import children_of
from tests.process.scraping import scrape
from tests.query.asking import Asking

NEEDED = {QueryMethod.TRACE: {"traceId": "x"}}
RANGE = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-04T00:00:00Z"}


def test_answers_are_as_the_openapi_document_says(asking: Asking) -> None:
    document = asking.server.request("GET", "/openapi.json").json
    validate(document)
    for method in set(PATHS) - {QueryMethod.EXPORT}:
        answer = asking.http(method, NEEDED.get(method, RANGE))
        content = document["paths"][PATHS[method]]["get"]["responses"]["200"]["content"]
        # Its references begin at the document's root.
        schema = {**content["application/json"]["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(answer.json)


def test_queries_are_counted_apart_from_batches(asking: Asking) -> None:
    before = scrape(asking.server)
    asking.both(QueryMethod.STATS)
    asking.http(QueryMethod.STATS, {"x": "1"})
    changes = scrape(asking.server) - before
    assert changes["queries_total GetStats answered"] == 2
    assert changes["queries_total GetStats VALIDATION_ERROR"] == 1
    assert changes["query_duration_seconds_count GetStats"] == 3
    assert not any(name.startswith("requests_total") for name in changes)


def test_a_query_waits_for_the_successor_of_a_process_that_died(asking: Asking) -> None:
    asking.both(QueryMethod.STATS)
    for process in query_processes(asking):
        os.kill(process, signal.SIGKILL)
        assert asking.http(QueryMethod.STATS, {}).status == 200
    asking.both(QueryMethod.STATS)


def test_a_query_process_can_ask_the_main_process_for_a_pass(asking: Asking) -> None:
    main = Path(f"/proc/{asking.server.process.pid}/fd")
    for process in query_processes(asking):
        ask_fd = Path(f"/proc/{process}/cmdline").read_text().split("\0")[-2]
        pipe = Path(f"/proc/{process}/fd/{ask_fd}").readlink()
        assert str(pipe).startswith("pipe:")
        assert [each.readlink() for each in main.iterdir()].count(pipe) == 2  # one end reads


def query_processes(asking: Asking) -> list[int]:
    """Return the ids of the server's query processes."""
    found = []
    for process in children_of(asking.server.process.pid):
        with open(f"/proc/{process}/cmdline", "rb") as file:
            if b"http_bridge.query_worker" in file.read():
                found.append(process)
    assert found
    return found
