"""A start takes little CPU: a process imports what it needs."""

import subprocess
import sys

from tests.project.repository import ROOT

# Each takes a tenth of the start, or more, and only commands for people and servers with TLS need it.
LARGE = {"cryptography", "grpc", "rich"}


def test_the_main_process_and_workers_do_without_large_libraries() -> None:
    modules = "server.cli.serve, server.grpc.worker, http_bridge.__main__, http_bridge.query_worker"
    program = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    imported = set(done.stdout.split())
    assert "http_bridge.app" in imported
    assert imported & LARGE == set()
