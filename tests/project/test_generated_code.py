"""The generated code is what the .proto file gives."""

import subprocess
import sys
from pathlib import Path

from tests.project.repository import ROOT

PACKAGES = {"ingest": Path("seestack/ingest/v1"), "query": Path("seestack/query/v1")}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*_pb2*.py*")}


def test_the_generated_code_is_fresh(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "proto/generate.py", tmp_path], cwd=ROOT, check=True, timeout=60)
    for name, folder in PACKAGES.items():
        fresh = contents(tmp_path / folder)
        kept = contents(ROOT / "proto" / folder)
        assert set(fresh) == {f"{name}_pb2.py", f"{name}_pb2.pyi", f"{name}_pb2_grpc.py", f"{name}_pb2_grpc.pyi"}
        assert set(kept) == set(fresh)
        assert [file for file in fresh if kept[file] != fresh[file]] == []


def test_the_proto_file_passes_its_linter() -> None:
    buf = Path(sys.executable).with_name("buf")
    done = subprocess.run([buf, "lint", "proto"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
