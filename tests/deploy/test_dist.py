"""What `make dist` packs: it tries the wheel itself, which takes longer than a test may."""

import subprocess
import tomllib

import pytest
from hatchling.builders.plugin.interface import BuilderInterface
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.project.repository import ROOT

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
PACKAGES = ("http_bridge/", "proto/seestack/", "server/", "storage/")


def tracked_files() -> set[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: which files belong to the project is not known")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.splitlines() if (ROOT / name).exists()}


def packed_by(builder: "BuilderInterface") -> set[str]:  # type: ignore[type-arg]
    return {file.relative_path for file in builder.recurse_included_files()}


def test_the_wheel_has_every_file_of_the_packages() -> None:
    wanted = {name for name in tracked_files() if name.startswith(PACKAGES)}
    assert wanted - packed_by(WheelBuilder(str(ROOT))) == set()


def test_the_source_package_has_every_file_that_the_wheel_is_made_of() -> None:
    wanted = {name for name in tracked_files() if name.startswith(PACKAGES)}
    wanted |= {"hatch_build.py", "pyproject.toml", "requirements.lock", "LICENSE", "README.md", "CHANGELOG.md"}
    assert wanted - packed_by(SdistBuilder(str(ROOT))) == set()


def test_the_changelog_knows_the_version() -> None:
    """A version is being made as long as its changes stand under Unreleased, and is the newest one afterwards."""
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    first = next(line for line in lines if line.startswith("## "))
    assert first == "## Unreleased" or first.startswith(f"## {VERSION} - ")
    if first == "## Unreleased":
        assert not any(line.startswith(f"## {VERSION} ") for line in lines), "it was released: choose the next version"
