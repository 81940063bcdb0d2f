"""What each module of the project imports, as its source says."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.project.repository import ROOT

PACKAGES = ("storage", "server", "http_bridge")


def modules_of(package: str) -> list[Path]:
    """Return the source files of a package."""
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules, package
    return modules


def names_in(path: Path) -> Iterator[str]:
    """Yield the full names that a module imports, wherever in the file it does: `package.module.name`."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *([node.module] if node.module else ()))
            yield from (".".join((*module, alias.name)) for alias in node.names)


@cache
def imports() -> dict[str, set[str]]:
    """Return the modules of our packages, each with those of our packages that it imports."""
    paths = {_module_name(path): path for package in PACKAGES for path in modules_of(package)}
    return {
        module: {imported for name in names_in(path) if (imported := _module_in(name, paths)) is not None}
        for module, path in paths.items()
    }


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _module_in(name: str, modules: dict[str, Path]) -> str | None:
    """Return the module that a full name is, or is in."""
    return next((module for module in (name, name.rpartition(".")[0]) if module in modules), None)
