"""The lock files hold everything that is installed, and nothing of the machine they were made on."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.repository import ROOT

LOCK_FILES = sorted(path.name for path in ROOT.glob("requirements*.lock"))
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# name==version, maybe a marker, and hashes.
PINNED = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(?: ; [^\\]+?)?((?: --hash=sha256:[0-9a-f]{64})+)")


def requirements_of(lock_file: str) -> Iterator[str]:
    """Yield the requirements of a lock file, each as one line."""
    text = (ROOT / lock_file).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield " ".join(line.split())


def pins_of(lock_file: str) -> dict[str, set[str]]:
    """Return the versions of each package of a lock file; markers may make it several."""
    pins: dict[str, set[str]] = {}
    for line in requirements_of(lock_file):
        match = PINNED.fullmatch(line)
        assert match, line
        pins.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return pins


def unmet(wanted: list[str], pins: dict[str, set[str]]) -> list[str]:
    requirements = map(Requirement, wanted)
    return [
        str(requirement)
        for requirement in requirements
        if not (versions := pins.get(canonicalize_name(requirement.name)))
        or not all(requirement.specifier.contains(version, prereleases=True) for version in versions)
    ]


def test_there_is_a_lock_file_to_run_and_one_to_develop() -> None:
    assert LOCK_FILES == ["requirements-dev.lock", "requirements.lock"]


@pytest.mark.parametrize("lock_file", LOCK_FILES)
def test_a_lock_file_names_no_address(lock_file: str) -> None:
    text = (ROOT / lock_file).read_text(encoding="utf-8").lower()
    for forbidden in ("http://", "https://", "--index", "find-links", "file:", "git+", "--trusted-host"):
        assert forbidden not in text


@pytest.mark.parametrize("lock_file", LOCK_FILES)
def test_every_package_is_pinned_with_a_hash(lock_file: str) -> None:
    assert len(pins_of(lock_file)) >= 10


def test_every_dependency_of_the_project_is_locked() -> None:
    wanted = PYPROJECT["project"]["dependencies"]
    assert wanted
    assert unmet(wanted, pins_of("requirements.lock")) == []


def test_everything_that_builds_the_project_is_locked() -> None:
    wanted = PYPROJECT["build-system"]["requires"] + PYPROJECT["dependency-groups"]["build"]
    assert unmet(wanted, pins_of("requirements.lock")) == []


def test_every_tool_of_development_is_locked() -> None:
    assert unmet(PYPROJECT["dependency-groups"]["dev"], pins_of("requirements-dev.lock")) == []


def test_packages_in_both_lock_files_have_the_same_version() -> None:
    runtime, development = pins_of("requirements.lock"), pins_of("requirements-dev.lock")
    assert {name for name in runtime.keys() & development.keys() if runtime[name] != development[name]} == set()
