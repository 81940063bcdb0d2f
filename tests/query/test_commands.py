"""`seestack-ingest tail`, `top`, `stats` and `trace`, as processes against the server."""

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.cli.harmless import dump_json, harmless
from server.contract.query_method import QueryMethod
from tests.cli.failing import fail_command
from tests.cli.ports import closed_port
from tests.commands import COMMAND
from tests.patience import PATIENCE_S
from tests.query.asking import Asking
from tests.running_server import run_command

# What a terminal obeys (ESC, and CSI as one character), what turns text around, what hides, and what ends lines.
HOSTILE = "/\x1b[31m/\x9b2J/\u202e/\u200b/\u2028\r\n"
SHOWN = "/\\x1b[31m/\\x9b2J/\\u202e/\\u200b/\\u2028\\r\\n"


@pytest.fixture(scope="session")
def flags(asking: Asking) -> tuple[str, ...]:
    """The server and the key, as flags."""
    return ("--target", f"127.0.0.1:{asking.server.grpc_port}", "--read-key", str(asking.key))


def send(asking: Asking, **changes: Any) -> None:
    item = {
        "traceId": "trace-c", "direction": "inbound", "method": "GET", "host": "commands.example", "path": "/c",
        "statusCode": 503, "durationMs": 40, "requestSize": 0, "responseSize": 0,
        "timestamp": datetime.now(UTC).isoformat(), **changes,
    }  # fmt: skip
    assert asking.server.post({"projectId": asking.server.project_id, "requests": [item]}).status == 202


def run(*arguments: str) -> str:
    return run_command(*arguments).stdout


@dataclass
class OnTerminal:
    """A command on a terminal of 60 columns, and what it has written there."""

    process: "subprocess.Popen[bytes]"
    end: int
    text: str = ""

    def wait(self) -> int:
        """Read what else is written until the command ends, and return its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            if select.select([self.end], [], [], 0.05)[0]:
                self.text += os.read(self.end, 65_536).decode()
        return self.process.returncode

    def read_until(self, wanted: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while wanted not in self.text:
            if not select.select([self.end], [], [], max(0.0, deadline - time.monotonic()))[0]:
                pytest.fail(f"no {wanted!r} on the terminal: {self.text!r}")
            self.text += os.read(self.end, 65_536).decode()


@contextmanager
def on_terminal(*arguments: str) -> Iterator[OnTerminal]:
    end, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [COMMAND, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, env={**environment, "TERM": "xterm"}
    )
    try:
        yield OnTerminal(process, end)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
        os.close(end)


def test_a_tail_on_a_terminal_is_cut_to_its_width_and_harmless(asking: Asking, flags: tuple[str, ...]) -> None:
    with on_terminal("tail", *flags, "--host", "tail.example", "--status-group", "5xx") as tail:
        tail.read_until("following")
        send(asking, host="tail.example", statusCode=200, path="/not-shown")
        send(asking, host="tail.example", path=HOSTILE, userId="x" * 200)
        tail.read_until("…")
        assert SHOWN[:5] in tail.text
        assert "\x1b[1;31m  503" in tail.text
        assert "/not-shown" not in tail.text
        assert not {"\x9b", "\u202e", "\u2028"} & set(tail.text)
        tail.process.send_signal(signal.SIGINT)
        assert tail.wait() == 0
        assert "Traceback" not in tail.text


def test_a_tail_for_scripts_is_lines_of_json(asking: Asking, flags: tuple[str, ...]) -> None:
    command = [COMMAND, "tail", *flags, "--host", "json.example", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], 0.5)[0]:  # it does not say when it has begun
            send(asking, host="json.example", path=HOSTILE)
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert line.isascii()
    shown = json.loads(line)
    assert (shown["path"], shown["statusCode"], shown["userId"]) == (HOSTILE, 503, None)
    assert set(shown) == set(asking.http(QueryMethod.LIST, {"host": "json.example"}).json["data"]["items"][0])


def test_top_shows_endpoints_until_q(asking: Asking, flags: tuple[str, ...]) -> None:
    for number in range(3):
        send(asking, host="top.example", path=f"/orders/{number}", durationMs=200)
    asked = ("--host", "top.example", "--last", "1h")
    with on_terminal("top", *flags, *asked, "--interval", "0.2") as top:
        top.read_until("/orders/{id}")
        assert "p95" in top.text
        assert "p50" not in top.text  # there is no room for it
        os.write(top.end, b"t")
        top.read_until("by time")
        os.write(top.end, b"q")
        assert top.wait() == 0
    with on_terminal("top", *flags, *asked) as top:
        top.read_until("/orders/{id}")
        top.process.send_signal(signal.SIGINT)
        assert top.wait() == 0
        assert "Traceback" not in top.text
    (item,) = json.loads(run("top", *flags, *asked, "--json"))["items"]
    assert (item["direction"], item["endpoint"], item["failedRequests"]) == ("inbound", "/orders/{id}", 3)
    assert item["p50"] == item["p99"] == pytest.approx(200, rel=0.01)
    assert "in  GET top.example/orders/{id}" in run("top", *flags, *asked)


def test_stats_are_those_of_the_server(asking: Asking, flags: tuple[str, ...]) -> None:
    send(asking, host="stats.example")
    told = json.loads(run("stats", *flags, "--host", "stats.example", "--json"))
    assert told == asking.http(QueryMethod.STATS, {"host": "stats.example"}).json["data"]
    text = run("stats", *flags, "--host", "stats.example")
    assert "requests  1 (1 in, 0 out)" in text
    assert "failed    1 (100.00 %)" in text
    assert "p50       -" in run("stats", *flags, "--host", "nowhere.example")


def test_a_trace_is_a_waterfall_with_its_gaps(asking: Asking, flags: tuple[str, ...]) -> None:
    begin = datetime(2026, 1, 2, tzinfo=UTC)
    for offset_ms, status, path in ((0, 200, "/first"), (10, 503, "/within"), (90, 0, HOSTILE)):
        moment = begin + timedelta(milliseconds=offset_ms)
        send(asking, traceId="falls", timestamp=moment.isoformat(), statusCode=status, path=path, durationMs=40)
    head, first, within, gap, last = run("trace", *flags, "falls").splitlines()
    assert head == "trace falls: 3 requests, 130 ms, 2 failed"
    assert ("0 ms" in first, "10 ms" in within, "90 ms" in last) == (True, True, True)
    assert gap.endswith("gap of 40 ms")
    assert first.index("█") < within.index("█") < gap.index("·") < last.index("█")
    assert last.endswith(SHOWN)
    assert len(json.loads(run("trace", *flags, "falls", "--json"))["items"]) == 3
    assert fail_command("trace", *flags, "un\x1bknown").line.endswith(r"un\x1bknown")


def test_what_goes_wrong_is_one_line_that_says_what_to_do(
    asking: Asking, flags: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, target, _, key = flags
    with closed_port() as port:
        down = fail_command("tail", "--target", f"127.0.0.1:{port}", "--read-key", key)
    assert "seestack-ingest serve" in down.line
    may_not = fail_command("top", "--target", target, "--read-key", asking.server.api_key)
    assert "This key may not read" in may_not.line
    assert "--scope read" in may_not.line
    assert asking.server.api_key not in may_not.line
    folder = str(tmp_path_factory.mktemp("empty"))
    assert folder in fail_command("stats", "--target", target, "--data-dir", folder).line
    assert "no key has" in fail_command("stats", "--target", target, "--read-key", "ключ").line


def test_the_server_and_the_key_of_the_data_folder_are_the_default(
    asking: Asking, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("data")
    credentials = {"projectId": asking.server.project_id, "apiKey": "any", "readKey": asking.key}
    (folder / "credentials.json").write_text(json.dumps(credentials))
    port = str(asking.server.grpc_port)
    assert "requests" in run("stats", "--data-dir", str(folder), "--grpc-port", port)


def test_text_is_shown_as_it_is_unless_it_could_do_harm() -> None:
    assert harmless("/заказы/日本 ü?") == "/заказы/日本 ü?"
    assert harmless(HOSTILE) == SHOWN
    assert dump_json("\x7f\x9b") == '"\\u007f\\u009b"'
