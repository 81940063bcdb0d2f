"""`seestack-ingest check`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from storage.embedded.server import EmbeddedServer
from tests.certificates import Authority
from tests.cli.ports import closed_port, listening_port
from tests.commands import complete_command
from tests.running_server import FREE_PORTS, RunningServer, run_command

PASSWORD = "s3cret-pa55word"


def run_check(*arguments: str, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command; it may find problems but not break."""
    done = complete_command("check", *FREE_PORTS, *arguments, environment=environment)
    assert done.stderr == ""
    return done


def with_password(url: str) -> str:
    return url.replace("postgres@", f"postgres:{PASSWORD}@", 1)


def checks_of(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    checks: dict[str, Any] = json.loads(done.stdout)["checks"]
    return checks


def test_all_is_well_with_free_ports_and_a_database(empty_database_url: str) -> None:
    done = run_check("--json", "--database-url", with_password(empty_database_url), "--grace-seconds", "7")
    assert done.returncode == 0
    assert {name: result["usable"] for name, result in checks_of(done).items()} == {
        "database": True,
        "spool": True,
        "HTTP port": True,
        "gRPC port": True,
        "metrics port": True,
        "TLS": True,
        "compiled code": True,
    }
    settings = json.loads(done.stdout)["settings"]
    assert settings["SEESTACK_GRACE_SECONDS"] == 7
    assert settings["SEESTACK_DATABASE_URL"]
    assert PASSWORD not in done.stdout


def test_a_misspelled_variable_is_named(database_url: str) -> None:
    environment = {"SEESTACK_HTP_PORT": "1", "SEESTACK_READ_KEY": "k", "SEESTACK_INGEST_PORT": "tcp://10.0.0.1:8080"}
    done = complete_command("check", *FREE_PORTS, "--database-url", database_url, environment=environment)
    assert (done.returncode, done.stderr) == (
        0, "seestack-ingest: SEESTACK_HTP_PORT is no setting; SEESTACK_HTTP_PORT is\n",
    )  # fmt: skip


def test_people_read_tables(database_url: str) -> None:
    done = run_check(environment={"SEESTACK_DATABASE_URL": with_password(database_url)})
    assert done.returncode == 0
    assert "SEESTACK_DATABASE_URL" in done.stdout
    assert "NOT USABLE" not in done.stdout
    assert done.stdout.count("usable") == 7
    assert PASSWORD not in done.stdout


@pytest.mark.one_postgres("the embedded database")
def test_the_embedded_database_is_tried_too(data_folder: Path) -> None:
    folder = data_folder / "check"
    run_command("migrate", "--data-dir", str(folder))
    done = run_check("--json", "--data-dir", str(folder))
    assert done.returncode == 0
    assert checks_of(done)["database"]["message"].startswith("embedded, Postgres ")
    # It was started for the check only.
    assert not Path(EmbeddedServer(folder).url.partition("host=")[2], ".s.PGSQL.5432").exists()


def test_a_data_folder_that_cannot_be_made_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_check("--json", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    database = checks_of(done)["database"]
    assert (database["usable"], f"{tmp_path / 'file'} is not a folder" in database["message"]) == (False, True)


@pytest.mark.parametrize("protocol", ["HTTP", "gRPC", "metrics"])
def test_a_taken_port_is_found(protocol: str, database_url: str) -> None:
    with listening_port() as port:
        flags = ("--database-url", database_url, f"--{protocol.lower()}-port", str(port))
        done = run_check("--json", *flags)
    assert done.returncode == 1
    checks = checks_of(done)
    assert [name for name, result in checks.items() if not result["usable"]] == [f"{protocol} port"]
    assert f"127.0.0.1:{port}" in checks[f"{protocol} port"]["message"]
    assert "a server that runs already" in checks[f"{protocol} port"]["message"]


def test_the_ports_of_a_running_server_are_taken(server: RunningServer) -> None:
    ports = ("--http-port", str(server.http_port), "--grpc-port", str(server.grpc_port))
    done = run_check("--json", "--database-url", server.database_url, *ports)
    assert done.returncode == 1
    usable = [name for name, result in checks_of(done).items() if result["usable"]]
    assert usable == ["database", "spool", "metrics port", "TLS", "compiled code"]
    assert server.request("GET", "/healthz").status == 200


def test_tls_files_are_tried_too(tmp_path: Path, database_url: str) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    flags = ("--json", "--database-url", database_url, "--tls-cert", str(certificate), "--tls-key")
    assert checks_of(run_check(*flags, str(key)))["TLS"]["message"].startswith("certificate valid until 2")
    done = run_check(*flags, str(certificate))
    assert done.returncode == 1
    assert [name for name, result in checks_of(done).items() if not result["usable"]] == ["TLS"]


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["for people", "json"])
def test_an_unreachable_database_is_found(flags: tuple[str, ...]) -> None:
    with closed_port() as port:
        done = run_check(*flags, "--database-url", f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db")
    assert done.returncode == 1
    assert str(port) in done.stdout
    assert PASSWORD not in done.stdout
    if flags:
        assert [name for name, result in checks_of(done).items() if not result["usable"]] == ["database"]
    else:
        assert done.stdout.count("NOT USABLE") == 1
