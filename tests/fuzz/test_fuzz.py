"""Hostile inputs, few and always the same, and all that ever did harm; `make fuzz` sends many more."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.campaign import Campaign, Tally
from tests.fuzz.openapi import check_document
from tests.fuzz.targets import SHARES, TARGETS
from tests.running_server import RunningServer

SEED = 1
INPUTS = 3000
EXAMPLES = 15
# Some of the others end a worker now and then, which is the gRPC library's doing: they are left to `make fuzz`, but for
# those in the corpus.
HARMLESS = [name for name in TARGETS if name not in ("metadata", "frames")]
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*/*"))


@pytest.fixture
def campaign(fuzzed_server: RunningServer) -> Iterator[Campaign]:
    running = Campaign(fuzzed_server)
    yield running
    running.close()


@pytest.mark.parametrize("name", HARMLESS)
def test_no_input_does_harm(campaign: Campaign, name: str) -> None:
    target = TARGETS[name]
    tally, failures = campaign.run(target, round(INPUTS * SHARES[target]), Random(f"{SEED} {name}"))
    assert [failure.problem for failure in failures] == []
    assert tally.accepted > 0
    assert tally.inputs > tally.accepted


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_once_did_harm_does_none(campaign: Campaign, file: Path) -> None:
    assert campaign.send(TARGETS[file.parent.name], [file.read_bytes()], Tally()) == []


def test_the_openapi_document_is_true(fuzzed_server: RunningServer) -> None:
    done = check_document(fuzzed_server, examples=EXAMPLES, seed=SEED, phases="fuzzing")
    assert done.returncode == 0, done.stdout
    assert fuzzed_server.rows()
