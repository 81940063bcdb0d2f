"""Containerfile, compose files and the balancer's configuration."""

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from server.settings import Settings
from tests.deploy.files import DEPLOY, run_program
from tests.deploy.test_dist import PACKAGES, tracked_files
from tests.running_server import RunningServer

CONTAINERFILE = DEPLOY / "container" / "Containerfile"
BALANCER = DEPLOY / "compose" / "haproxy.cfg"
PORTS = {Settings.model_fields[f"{name}_port"].default for name in ("http", "grpc", "metrics")}


def compose(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / name).read_text(encoding="utf-8"))
    return document


def test_the_image_copies_every_package_and_nothing_that_is_not_there() -> None:
    text = CONTAINERFILE.read_text(encoding="utf-8")
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M) for word in line.split()}
    assert {package.partition("/")[0] for package in PACKAGES} <= copied
    tracked = tracked_files()
    for name in copied:
        assert any(path == name or path.startswith(f"{name}/") for path in tracked), name


def test_both_kinds_of_engine_leave_out_the_same_files() -> None:
    ignored = {path.name: path.read_text() for path in CONTAINERFILE.parent.glob("*ignore")}
    assert set(ignored) == {"Containerfile.containerignore", "Containerfile.dockerignore"}
    assert len(set(ignored.values())) == 1


def test_the_image_exposes_the_ports_of_the_settings() -> None:
    (exposed,) = re.findall(r"^EXPOSE (.*)$", CONTAINERFILE.read_text(encoding="utf-8"), re.M)
    assert {int(port) for port in exposed.split()} == PORTS


@pytest.mark.parametrize("name", ["compose.yaml", "compose.balanced.yaml"])
def test_servers_are_confined_and_have_spools_of_their_own(name: str) -> None:
    document = compose(name)
    servers = [service for key, service in document["services"].items() if key.startswith("server")]
    assert servers
    spools = [volume for server in servers for volume in server["volumes"]]
    assert len(set(spools)) == len(servers)
    assert {spool.partition(":")[0] for spool in spools} <= set(document["volumes"])
    for server in servers:
        assert server["read_only"] is True
        assert server["cap_drop"] == ["ALL"]
        assert float(server["stop_grace_period"].rstrip("s")) > Settings.model_fields["grace_seconds"].default


def test_the_balancer_knows_every_server() -> None:
    servers = {name for name in compose("compose.balanced.yaml")["services"] if name.startswith("server")}
    configured = re.findall(r"^    server (\S+) (\S+):(\d+)", BALANCER.read_text(encoding="utf-8"), re.M)
    for port in (8080, 50051):
        assert {host for _, host, its_port in configured if int(its_port) == port} == servers


def test_the_balancer_takes_its_configuration() -> None:
    run_program("haproxy", "-c", "-q", "-f", BALANCER)


def test_the_health_check_tells_a_server_that_is_ready(server: RunningServer) -> None:
    command = [sys.executable, str(CONTAINERFILE.with_name("healthcheck.py"))]
    for port, code in ((server.http_port, 0), (9, 1)):
        done = subprocess.run(command, env={"SEESTACK_HTTP_PORT": str(port)}, check=False)
        assert done.returncode == code
