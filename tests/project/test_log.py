"""Log lines: what they say, what they never say, and what hostile input cannot do to them."""

import asyncio
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from server.errors import IngestError, InvalidApiKeyError, ServiceUnavailableError, ValidationFailedError, explain
from server.observability.log import (
    MAX_FIELD_LENGTH,
    MAX_TRACEBACK_LENGTH,
    JsonFormatter,
    LogLevel,
    PeopleFormatter,
    event_fields,
)
from server.observability.metrics import Protocol, WorkerMetrics, create_cells, map_cells
from server.observability.request_report import LineLimit, RequestRecord, RequestReporter
from storage.keys.api_keys import generate_raw_key
from tests.log_lines import log_lines

HOSTILE = 'x\n{"level": "error"}\r\x1b[31m\x9b2J\x7f\u2028\u202e" status=202'
FORMATTERS = [JsonFormatter(), PeopleFormatter()]


def make_record(message: str = "message", **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"msg": message, "name": "server.test", "levelno": logging.INFO, "levelname": "INFO"}
        | dict(event_fields(**fields))
    )


def make_failure(text: str) -> logging.LogRecord:
    record = make_record()
    try:
        raise ValueError(text)
    except ValueError:
        record.exc_info = sys.exc_info()
    return record


@contextmanager
def captured(level: LogLevel = LogLevel.INFO) -> Iterator[list[dict[str, Any]]]:
    """Collect what the reporter logs, as JSON."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("server.observability.request_report")
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    lines: list[dict[str, Any]] = []
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        lines += map(json.loads, output.getvalue().splitlines())


def make_reporter() -> RequestReporter:
    return RequestReporter(WorkerMetrics(map_cells(create_cells())))


def make_request(protocol: Protocol = Protocol.HTTP, **target: str) -> RequestRecord:
    return RequestRecord(protocol, str(uuid4()), target, uuid4())


def test_a_line_is_json_with_the_time_in_utc() -> None:
    line = json.loads(JsonFormatter().format(make_record("hello", rows=3, project_id=None)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {"level": "info", "logger": "server.test", "message": "hello", "rows": 3}


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("record", [make_record(HOSTILE), make_record(path=HOSTILE)], ids=["message", "field"])
def test_hostile_text_stays_within_its_line(formatter: logging.Formatter, record: logging.LogRecord) -> None:
    line = formatter.format(record)
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_hostile_text_cannot_pass_for_another_field_on_a_terminal() -> None:
    line = PeopleFormatter().format(make_record(path="/x status=202"))
    assert line.endswith(' path="/x status=202"')


def test_a_traceback_on_a_terminal_cannot_pass_for_a_line_of_the_log() -> None:
    _, *lines = PeopleFormatter().format(make_failure(HOSTILE)).splitlines()
    assert lines
    assert all(line.startswith("    ") and line.isprintable() for line in lines)


def test_a_traceback_is_part_of_one_line_of_json() -> None:
    line = JsonFormatter().format(make_failure("reason"))
    assert len(line.splitlines()) == 1
    assert "ValueError: reason" in json.loads(line)["traceback"]


def test_an_uncaught_exception_is_one_line_too() -> None:
    setup = "from server.observability.log import *; configure_logging(LogLevel.INFO)"
    program = f"{setup}; raise ValueError('first\\nsecond')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    (line,) = log_lines(done.stderr)
    assert done.returncode == 1
    assert "first\nsecond" in line["traceback"]


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_keys_are_hidden_wherever_they_turn_up(formatter: logging.Formatter) -> None:
    key = generate_raw_key()
    for record in (make_record(key), make_record(path=f"/a/{key}?{key}"), make_failure(f"no {key}")):
        line = formatter.format(record)
        assert key.removeprefix("seestack_live_")[:7] not in line
        assert "[hidden]" in line
    cut_off = "x" * (MAX_FIELD_LENGTH // 2 - 20) + key * 100
    assert key.removeprefix("seestack_live_")[:4] not in formatter.format(make_record(path=cut_off))


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_lines_are_of_bounded_length(formatter: logging.Formatter) -> None:
    assert len(formatter.format(make_record("x" * 10**6, path="y" * 10**6))) < 3_000
    assert len(formatter.format(make_failure("x" * 10**6))) < MAX_TRACEBACK_LENGTH + 1_000


def test_a_refused_request_is_told_with_all_that_is_known_but_its_values() -> None:
    record = make_request(method="POST", path="/ingest/v1/http-requests")
    error = ValidationFailedError({"requests[0].host": "must not be blank", "requests[1]": "must be an object"})
    with captured() as lines:
        asyncio.run(report(make_reporter(), record, error))
    (line,) = lines
    assert line.pop("duration_ms") >= 0
    assert (
        line.items()
        >= {
            "level": "info",
            "message": "request refused",
            "request_id": record.request_id,
            "project_id": str(record.project_id),
            "protocol": "http",
            "method": "POST",
            "path": "/ingest/v1/http-requests",
            "outcome": "VALIDATION_ERROR",
            "status": 422,
            "rows": 0,
            "wrong_fields": "host requests",
        }.items()
    )


def test_the_level_tells_whose_fault_it_was_and_accepted_requests_are_for_debugging() -> None:
    record = make_request(Protocol.GRPC, rpc="IngestHttpRequests")
    errors = (InvalidApiKeyError(), ServiceUnavailableError(), explain(KeyError("unexpected")))
    for level, expected in ((LogLevel.INFO, []), (LogLevel.DEBUG, [("debug", "OK", 7)])):
        with captured(level) as lines:
            reporter = make_reporter()
            reporter.report_accepted(record, 7)
            asyncio.run(report(reporter, record, *errors))
        assert [(line["level"], line["status"], line["rows"]) for line in lines] == [
            *expected,
            ("info", "UNAUTHENTICATED", 0),
            ("warning", "UNAVAILABLE", 0),
            ("error", "INTERNAL", 0),
        ]
        assert "unexpected" in lines[-1]["traceback"]


def test_a_flood_of_refusals_leaves_room_for_others_and_is_summed_up() -> None:
    flooding, other = make_request(), make_request()
    with captured() as lines:
        asyncio.run(flood(make_reporter(), flooding, other))
    refusals = [line["request_id"] for line in lines if line["message"] == "request refused"]
    assert refusals == [flooding.request_id] * LineLimit.LINES_OF_A_KIND_PER_SECOND + [other.request_id]
    assert lines[-1]["level"] == "info"
    assert lines[-1]["left_out"] == 1_000 - LineLimit.LINES_OF_A_KIND_PER_SECOND


def test_floods_of_many_kinds_are_bounded_too() -> None:
    with captured() as lines:
        asyncio.run(report_each(make_reporter(), [make_request() for _ in range(1_000)]))
    # On a busy machine a second may pass, whose end says how many were left out.
    assert sum("left_out" not in line for line in lines) == LineLimit.LINES_PER_SECOND


async def report(reporter: RequestReporter, record: RequestRecord, *errors: IngestError) -> None:
    for error in errors:
        reporter.report_refused(record, error)


async def report_each(reporter: RequestReporter, records: list[RequestRecord]) -> None:
    for record in records:
        reporter.report_refused(record, InvalidApiKeyError())


async def flood(reporter: RequestReporter, flooding: RequestRecord, other: RequestRecord) -> None:
    for _ in range(1_000):
        reporter.report_refused(flooding, InvalidApiKeyError())
    reporter.report_refused(other, InvalidApiKeyError())
    await asyncio.sleep(1.1)
