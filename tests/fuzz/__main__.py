"""`python -m tests.fuzz`: sends hostile inputs to a real server and checks that none does any harm."""

import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import click
from rich import box
from rich.console import Console
from rich.table import Table

from server.compiled.encoder import is_chosen
from server.settings import Compiled
from storage.embedded.server import EmbeddedServer
from tests.fuzz.campaign import Campaign, Failure, Tally
from tests.fuzz.compiled import compare
from tests.fuzz.key_timing import print_key_timing
from tests.fuzz.openapi import check_document
from tests.fuzz.server import start_fuzzed_server
from tests.fuzz.targets import SHARES, TARGETS
from tests.running_server import RunningServer

FAILURES = Path("fuzz-failures")
DEFAULT_INPUTS = 120_000
EXAMPLES = 200  # for each operation of the OpenAPI document
MOST_REPORTS = 50


@click.command()
@click.option("--inputs", default=DEFAULT_INPUTS, show_default=True, help="How many inputs, of all targets together.")
@click.option("--seed", type=int, help="Makes the same inputs again.")
@click.option("--target", type=click.Choice(list(TARGETS)), help="Only this kind of input.")
@click.option("--replay", type=click.Path(exists=True, path_type=Path), help="Send one saved input instead.")
def main(inputs: int, seed: int | None, target: str | None, replay: Path | None) -> None:
    """Send hostile inputs to a real server; whatever does harm is saved and named."""
    seed = secrets.randbits(32) if seed is None else seed
    is_document_true = True
    differing = 0
    with run_server() as server, closing(Campaign(server)) as campaign:
        if replay is not None:
            failures = send_again(campaign, replay)
        elif target is not None:
            failures = run(campaign, seed, {target: inputs})
        else:
            if is_chosen(Compiled.AUTO):
                differing = compare(inputs, seed)
            failures = run(campaign, seed, shares_of(inputs))
            print_key_timing(server)
            document = check_document(server, examples=EXAMPLES, seed=seed)
            click.echo(document.stdout)
            is_document_true = document.returncode == 0
    if failures or differing or not is_document_true:
        sys.exit(
            f"{len(failures)} inputs did harm; {differing} got another answer from compiled code"
            + ("" if is_document_true else "; the OpenAPI document is not true")
        )


def send_again(campaign: Campaign, file: Path) -> list[Failure]:
    """Send a saved input, print what came of it, and return whether it did harm."""
    target = TARGETS[file.absolute().parent.name]
    failures = campaign.send(target, [file.read_bytes()], tally := Tally())
    print_table({target.name: tally})
    for failure in failures:
        click.echo(failure.problem)
    return failures


def shares_of(inputs: int) -> dict[str, int]:
    """Return how many inputs each target gets."""
    return {target.name: round(inputs * share) for target, share in SHARES.items()}


def run(campaign: Campaign, seed: int, counts: dict[str, int]) -> list[Failure]:
    """Run the targets one after the other, print what came of it, and save what did harm."""
    tallies: dict[str, Tally] = {}
    failures: list[Failure] = []
    started = time.monotonic()
    click.echo(f"seed {seed}")
    for name, count in counts.items():
        tallies[name], found = campaign.run(TARGETS[name], count, Random(f"{seed} {name}"))
        failures += found
    print_table(tallies)
    click.echo(f"{sum(counts.values()):,} inputs, seed {seed}, {time.monotonic() - started:.0f} s")
    for failure in failures[:MOST_REPORTS]:
        report(failure)
    return failures


def print_table(tallies: dict[str, Tally]) -> None:
    """Print what became of the inputs."""
    table = Table(box=box.SIMPLE)
    for heading in ("target", "inputs", "answers", "accepted", "refused", "rows expected", "rows stored"):
        table.add_column(heading, justify="left" if heading in ("target", "answers") else "right")
    for name, tally in tallies.items():
        answers = "\n".join(f"{count:>7,}  {answer}" for answer, count in tally.answers.most_common())
        refused = tally.inputs - tally.accepted
        numbers = (tally.accepted, refused, tally.expected, tally.stored)
        table.add_row(name, f"{tally.inputs:,}", answers, *(f"{number:,}" for number in numbers))
    Console(width=120).print(table)


def report(failure: Failure) -> None:
    """Save an input that did harm, and say how to send it again."""
    file = FAILURES / failure.target.name / sha256(failure.data).hexdigest()[:12]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(failure.data)
    click.echo(f"\n{failure.target.name}: {failure.problem}\n  again: make fuzz ARGS='--replay {file}'")


@contextmanager
def run_server() -> Iterator[RunningServer]:
    """Run a server with an embedded Postgres, both with their default settings."""
    with tempfile.TemporaryDirectory(prefix="seestack-fuzz-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedServer(Path(folder) / "postgres") as postgres, start_fuzzed_server(postgres.url) as server:
            yield server


if __name__ == "__main__":
    main()
