"""The server against its own OpenAPI document: schemathesis makes requests of it, valid ones and others."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.running_server import RunningServer

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))


def check_document(
    server: RunningServer, *, examples: int, seed: int, phases: str = "coverage,fuzzing"
) -> "subprocess.CompletedProcess[str]":
    """Send up to `examples` random requests for each operation; what is found makes the exit code non-zero."""
    document = server.request("GET", "/openapi.json").json
    # No schema can say which project a key belongs to.
    batch = document["components"]["schemas"]["Batch"]["properties"]
    batch["projectId"] = {"const": server.project_id}
    # Nor that an idempotency key was not used with another body before, so none is sent.
    del batch["idempotencyKey"]
    parameters = document["paths"]["/ingest/v1/http-requests"]["post"]["parameters"]
    parameters[:] = [parameter for parameter in parameters if parameter["name"] != "Idempotency-Key"]
    with tempfile.TemporaryDirectory(prefix="seestack-openapi-") as folder:
        file = Path(folder) / "openapi.json"
        file.write_text(json.dumps(document))
        return subprocess.run(
            [SCHEMATHESIS, "run", str(file), "--url", f"http://127.0.0.1:{server.http_port}",
             "--header", f"X-SeeStack-Key: {server.api_key}", "--checks", "all", "--phases", phases,
             "--max-examples", str(examples), "--seed", str(seed), "--no-color", "--generation-database", "none"],
            capture_output=True, text=True, check=False, cwd=folder,
        )  # fmt: skip
