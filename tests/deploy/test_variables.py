"""Every variable that a file of `deploy/` names is a setting."""

from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, OWN_VARIABLES, VARIABLES, variables_in
from tests.project.repository import ROOT

FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_variables_are_settings(path: Path) -> None:
    assert variables_in(path.read_text(encoding="utf-8")) - OWN_VARIABLES <= VARIABLES
