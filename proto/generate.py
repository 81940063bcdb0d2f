"""Generate Python from the .proto files: `python proto/generate.py [FOLDER]`.

FOLDER is where the package tree is written, by default this folder.
"""

import sys
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).parent
BIN = Path(sys.executable).parent
PROTO_FILES = ("seestack/ingest/v1/ingest.proto", "seestack/query/v1/query.proto")


def generate(output: Path) -> None:
    """Write NAME_pb2.py, NAME_pb2_grpc.py and their .pyi of each file below `output`; exits when protoc refuses."""
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={SOURCE}",
            f"--proto_path={Path(protoc.__file__).parent / '_proto'}",
            f"--python_out={output}",
            *(f"--plugin={BIN / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")),
            f"--mypy_out=quiet:{output}",
            f"--grpc_python_out={output}",
            f"--mypy_grpc_out=quiet:{output}",
            *PROTO_FILES,
        ]
    )
    if status:
        sys.exit(status)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE)
