"""The files of `deploy/`, and the programs that check them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from server.settings import Settings, environment_name
from tests.project.repository import ROOT

DEPLOY = ROOT / "deploy"
VARIABLES = {environment_name(field) for field in Settings.model_fields}
# Variables of the files themselves, which are no settings of the server.
OWN_VARIABLES = {"SEESTACK_IMAGE"}


def variables_in(text: str) -> set[str]:
    """Return the variables of the project that a text names."""
    return set(re.findall(r"\bSEESTACK_[A-Z_]+[A-Z]\b", text))


def run_program(*command: str | Path) -> str:
    """Run a program of the system and return what it prints; skips the test where the program is absent."""
    program = shutil.which(str(command[0])) or shutil.which(str(command[0]), path=str(Path.home() / "go/bin"))
    if program is None:
        pytest.skip(f"the system has no {command[0]}")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
