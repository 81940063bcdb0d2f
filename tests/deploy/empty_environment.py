"""`python -m tests.deploy.empty_environment FOLDER`: tries the wheel in a folder in an empty environment.

That is a new virtual environment with what pip finds for the wheel, a working folder outside the repository, and
no variables of the project. `check` must find the compiled code, and a server must store a batch and stop by SIGTERM.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from contextlib import suppress
from pathlib import Path
from typing import Any

from server.settings import ENV_PREFIX
from tests.batches import make_batch
from tests.running_server import FREE_PORTS, ONE_OF_EACH, RunningServer, wait_for_ports


def find_wheel(folder: Path) -> Path:
    """Return the wheel for this Python, of the version that was built last."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheels = [*folder.glob(f"*-{tag}-*.whl"), *folder.glob("*-py3-none-any.whl")]
    if not wheels:
        sys.exit(f"no wheel for {tag} is in {folder}")
    return max(wheels, key=lambda wheel: wheel.stat().st_mtime)


def install(wheel: Path, environment: Path) -> Path:
    """Make an empty environment, install a wheel with its dependencies, and return the command."""
    venv.create(environment, with_pip=True)
    programs = environment / "bin"
    subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    return programs / "seestack-ingest"


def clean_variables() -> dict[str, str]:
    """Return the environment without what would lead to the repository or change a setting."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ENV_PREFIX) and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }


def check(command: Path, folder: Path) -> dict[str, Any]:
    """Return what `seestack-ingest check` says in a folder of its own."""
    done = subprocess.run(
        [command, "check", "--json", "--data-dir", folder / "data", *FREE_PORTS],
        cwd=folder, env=clean_variables(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def serve_one_batch(command: Path, folder: Path) -> int:
    """Start a server with its embedded Postgres, send a batch and read it back; return the exit code after SIGTERM."""
    data, log = folder / "data", folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [command, "serve", "--data-dir", data, *FREE_PORTS, *ONE_OF_EACH],
            cwd=folder, env=clean_variables(), stdout=output, stderr=output, text=True,
        )  # fmt: skip
    try:
        http_port, grpc_port = wait_for_ports(process, log)
        keys = json.loads((data / "credentials.json").read_text())
        server = RunningServer(process, log, "", http_port, grpc_port, keys["projectId"], keys["apiKey"])
        answer = server.post(make_batch(keys["projectId"], 7))
        assert (answer.status, answer.json) == (202, {"ok": True, "accepted": 7}), answer
        page = server.request("GET", "/docs/")
        assert page.status == 200, page
        counted = subprocess.run(
            [command, "psql", "--data-dir", data, "-c", "SELECT count(*) FROM http_requests", "-t"],
            cwd=folder, env=clean_variables(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert counted.stdout.split() == ["7"], counted
        return server.stop()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def main() -> None:
    """Try the wheel in the folder that the command line names."""
    wheel = find_wheel(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="seestack-dist-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, the embedded Postgres runs as another user
        command = install(wheel, folder / "environment")
        compiled = check(command, folder)["checks"]["compiled code"]["message"]
        code = serve_one_batch(command, folder)
    if code != 0:
        sys.exit(f"the server ended with exit code {code}")
    sys.stdout.write(f"{wheel}: installed into an empty environment, it served a batch; compiled code: {compiled}\n")


if __name__ == "__main__":
    main()
