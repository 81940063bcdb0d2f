"""The compiled code is there wherever it can be built: without it, its tests are skipped."""

import shutil
import sysconfig
from pathlib import Path

import pytest

from server.compiled.encoder import is_chosen
from server.settings import Compiled

CAN_BE_BUILT = bool(shutil.which("cc")) and Path(sysconfig.get_path("include"), "Python.h").exists()


@pytest.mark.skipif(not CAN_BE_BUILT, reason="there is no C compiler, or Python's headers are missing")
def test_compiled_code_is_built() -> None:
    assert is_chosen(Compiled.AUTO)
