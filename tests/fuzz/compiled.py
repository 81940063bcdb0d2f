"""`python -m tests.fuzz.compiled`: compares the compiled code with the reference on hostile bytes, in this process."""

import json
import secrets
import sys
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import msgspec

from seestack.ingest.v1 import ingest_pb2
from server.cli.sample_traffic import make_items, to_message
from server.compiled.encoder import make_encoder
from tests.both_paths import BothPaths, try_json, try_message
from tests.fuzz import json_bodies, messages
from tests.fuzz.identity import PROJECT_ID
from tests.fuzz.mutation import mutate

if TYPE_CHECKING:
    from server.compiled.batch_encoder import BatchEncoder

MODULE = "server.compiled.batch_encoder"
FAILURES = Path("fuzz-failures")
DEFAULT_INPUTS = 200_000

ESCAPED = [
    "a",
    "/",
    '"',
    "\\",
    "\b\f\r\n\t",
    "\x01",
    "é",
    "\uffff",
    "😀",
    "\U0010ffff",
    "?",
    *(["zz", "Ü/"] * 3),
    "\ud83d",
]

Kind = tuple[Callable[[Random], bytes], Callable[["BatchEncoder", bytes, UUID], BothPaths]]


def usual_body(source: Random) -> bytes:
    """Return a body as SDKs send it, with few changes or none."""
    items = make_items(source.choice([1, 2, 7]), source)
    if source.random() < 0.3:
        items = [dict(source.sample(list(item.items()), len(item))) for item in items]
    body = msgspec.json.encode({"projectId": PROJECT_ID, "idempotencyKey": "a", "requests": items})
    if source.random() < 0.4:
        body = escape(source, items)
    elif source.random() < 0.2:
        body = msgspec.json.format(body, indent=source.randrange(4))
    return mutate(source, body, json_bodies.TOKENS) if source.random() < 0.8 else body


def escape(source: Random, items: list[dict[str, Any]]) -> bytes:
    """Return a body whose strings have escapes, as SDKs write them, and sometimes halves of surrogate pairs."""
    for item in items:
        item[source.choice(["userId", "path", "host", "x"])] = "".join(source.choices(ESCAPED, k=source.randrange(20)))
    body = json.dumps({"projectId": PROJECT_ID, "idempotencyKey": "\n", "requests": items})
    return body.replace("/", source.choice(["/", r"\/", r"\u002F"])).encode()


def usual_message(source: Random) -> bytes:
    """Return a message as SDKs send it, with few changes or none."""
    items = map(to_message, make_items(source.choice([1, 2, 7]), source))
    message = ingest_pb2.IngestHttpRequestsRequest(project_id=PROJECT_ID, requests=items).SerializeToString()
    return mutate(source, message, messages.TOKENS) if source.random() < 0.8 else message


KINDS: dict[str, Kind] = {
    "json": (json_bodies.make_body, try_json),
    "usual json": (usual_body, try_json),
    "protobuf": (messages.make_message, try_message),
    "usual protobuf": (usual_message, try_message),
}


def compare(inputs: int, seed: int, library: Path | None = None) -> int:
    """Try that many inputs, print what came of it, save those that differ, and return their number."""
    encoder = make_encoder(load(library))
    failures = 0
    for name, (make, attempt) in KINDS.items():
        source = Random(f"{seed} {name}")
        tally: Counter[str] = Counter()
        for _ in range(inputs // len(KINDS)):
            data = make(source)
            paths = attempt(encoder, data, UUID(PROJECT_ID))
            tally["by compiled code" if paths.compiled else "refused" if paths.reference is None else "left"] += 1
            if not paths.agree:
                failures += 1
                save(name, data)
        click.echo(f"compiled code, {name}: " + ", ".join(f"{count:,} {answer}" for answer, count in tally.items()))
    return failures


def load(library: Path | None) -> "type[BatchEncoder]":
    """Return the class of the compiled module, or of another build of it."""
    if library is None:
        from server.compiled.batch_encoder import BatchEncoder

        return BatchEncoder
    spec = spec_from_file_location(MODULE, library, loader=ExtensionFileLoader(MODULE, str(library)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made: type[BatchEncoder] = module.BatchEncoder
    return made


def save(name: str, data: bytes) -> None:
    """Save an input on which the two differ."""
    file = FAILURES / f"compiled {name}" / sha256(data).hexdigest()[:12]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    click.echo(f"compiled code, {name}: differs from the reference on {file}")


@click.command()
@click.option("--inputs", default=DEFAULT_INPUTS, show_default=True, help="How many inputs, of all kinds together.")
@click.option("--seed", type=int, help="Makes the same inputs again.")
@click.option("--library", type=click.Path(exists=True, path_type=Path), help="Another build of the compiled code.")
def main(inputs: int, seed: int | None, library: Path | None) -> None:
    """Compare the compiled code with the reference on hostile bytes."""
    seed = secrets.randbits(32) if seed is None else seed
    click.echo(f"seed {seed}")
    if failures := compare(inputs, seed, library):
        sys.exit(f"{failures} inputs had different answers")


if __name__ == "__main__":
    main()
