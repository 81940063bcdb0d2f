"""`seestack-ingest sample`."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from server.cli.sample_traffic import send_at_rate
from storage.keys.api_keys import generate_raw_key
from tests.cli.failing import fail_command
from tests.cli.ports import closed_port
from tests.commands import complete_command
from tests.running_server import RunningServer

ROWS = 25
FAST = ("--rows", str(ROWS), "--batch-size", "10", "--rate", "100000")
ANY_KEY = ("--project-id", "any", "--api-key", "any")


def flags_for(server: RunningServer, protocol: str, *, by_setting: bool = False) -> tuple[str, ...]:
    if by_setting:
        port = server.http_port if protocol == "http" else server.grpc_port
        return ("--protocol", protocol, f"--{protocol}-port", str(port))
    if protocol == "http":
        return ("--url", f"http://127.0.0.1:{server.http_port}")
    return ("--protocol", protocol, "--target", f"127.0.0.1:{server.grpc_port}")


def run_sample(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    done = complete_command("sample", *FAST, *arguments, environment=environment)
    done.check_returncode()
    return done


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_rows_arrive(protocol: str, server: RunningServer) -> None:
    before = {row["id"] for row in server.rows()}
    key = ("--project-id", server.project_id, "--api-key", server.api_key)
    done = run_sample(*flags_for(server, protocol), *key, "--json")
    assert json.loads(done.stdout)["accepted"] == ROWS
    assert done.stderr == ""
    rows = [row for row in server.rows() if row["id"] not in before]
    assert len(rows) == ROWS
    assert {str(row["project_id"]) for row in rows} == {server.project_id}
    assert 1 < len({row["trace_id"] for row in rows}) < ROWS
    assert len({row["path"] for row in rows}) > 1


def test_the_rows_tell_of_a_bad_deploy_and_of_a_slow_dependency() -> None:
    items = list(recorded_items(20_000))
    failed = [item["statusCode"] >= 500 for item in items]
    slow = [item["durationMs"] > 1000 for item in items if item["host"] == "payments.example.com"]
    of_bad_deploy = sum(failed[6_000:9_000])
    assert of_bad_deploy > 600 > 400 > sum(failed) - of_bad_deploy  # some 780, and 110 at all other times
    assert sum(slow) > 100
    slowest = max(items, key=lambda item: item["durationMs"])
    spans = [item for item in items if item["traceId"] == slowest["traceId"]]
    assert spans[0]["direction"] == "inbound"
    assert all(spans[0]["timestamp"] <= span["timestamp"] for span in spans)


def recorded_items(rows: int) -> Iterator[dict[str, Any]]:
    class Recorder:
        def send(self, project_id: str, items: list[dict[str, Any]]) -> int:
            recorded.extend(items)
            return len(items)

    recorded: list[dict[str, Any]] = []
    for _ in send_at_rate(Recorder(), "any", rows=rows, rows_per_second=1e9, batch_size=50):
        pass
    yield from recorded


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_server_and_key_come_from_settings_and_environment(protocol: str, server: RunningServer) -> None:
    flags = flags_for(server, protocol, by_setting=True)
    done = run_sample(*flags, "--project-id", server.project_id, SEESTACK_API_KEY=server.api_key)
    assert done.stdout.startswith(f"{ROWS} rows stored in ")
    assert server.api_key not in done.stdout + done.stderr


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_wrong_key_is_told(protocol: str, server: RunningServer) -> None:
    raw_key = generate_raw_key()
    key = ("--project-id", server.project_id, "--api-key", raw_key)
    failure = fail_command("sample", *FAST, *flags_for(server, protocol), *key, "--json")
    assert failure.exit_code == 1
    assert ("401" if protocol == "http" else "UNAUTHENTICATED") in failure.line
    assert raw_key not in failure.line


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_that_is_down_is_told(protocol: str) -> None:
    with closed_port() as port:
        flags = ("--protocol", protocol, f"--{protocol}-port", str(port))
        failure = fail_command("sample", *FAST, *flags, *ANY_KEY, "--json")
    assert failure.exit_code == 1
    assert "refused" in failure.line
    assert "seestack-ingest serve" in failure.line


def test_what_goes_wrong_is_one_line_without_json_too(server: RunningServer) -> None:
    key = ("--project-id", server.project_id, "--api-key", generate_raw_key())
    assert fail_command("sample", *FAST, *flags_for(server, "http"), *key).exit_code == 1


@pytest.mark.parametrize(
    "wrong",
    [("--url", "http://127.0.0.1:many"), ("--url", "http://127.0.0.1:1", "--api-key", "ключ")],
    ids=["port", "key"],
)
def test_a_value_that_cannot_be_sent_is_one_line(wrong: tuple[str, ...]) -> None:
    failure = fail_command("sample", *FAST, "--json", *ANY_KEY, *wrong)
    assert failure.exit_code in (1, 2)


def test_without_a_key_it_says_where_one_is_looked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("empty")
    failure = fail_command("sample", "--data-dir", str(folder))
    assert failure.exit_code == 1
    assert str(folder) in failure.line
    assert "--api-key" in failure.line
